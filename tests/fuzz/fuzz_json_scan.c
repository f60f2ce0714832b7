/* Any bytes as a JSON document: our scanner and writer against jansson and against themselves. */
#include "tests/fuzz/json_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_check_document(span_of(data, size));
    return 0;
}
