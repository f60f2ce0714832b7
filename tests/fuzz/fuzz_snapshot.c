/* Images of the machine from a broken disk: refused, or a state in which every invariant holds and
 * that saves to the same bytes. */
#include "machine/machine.h"
#include "std/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct machine *m = machine_new(NULL);
    if (machine_load(m, span_of(data, size)) == ST_OK) {
        machine_check(m);
        struct buf again;
        buf_init(&again, SIZE_MAX);
        machine_save(m, &again);
        CHECK(span_equal(span_of(data, size), buf_span(&again)));
        buf_fini(&again);
    }
    machine_free(m);
    return 0;
}
