/* Any bytes as the body of a publish request; the first byte chooses the number of partitions. */
#include "tests/fuzz/publish_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct publish_builder builder;
    static bool ready;
    if (!ready)
        publish_builder_init(&builder);
    ready = true;
    static const uint32_t partitions[] = {1, 2, 3, 6, 12, 1024};
    if (size == 0)
        return 0;
    publish_check_body(&builder, span_of(data + 1, size - 1), partitions[data[0] % 6]);
    return 0;
}
