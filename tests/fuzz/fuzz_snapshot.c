/* Images of the machine from a broken disk: refused, or a state in which every invariant holds and
 * that saves to the same bytes; to an image that stays as it is, if this one is of an older
 * version. */
#include "machine/machine.h"
#include "std/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Loads the image, if it can be, and saves it. Gives: what was saved; nothing when it was refused.
 */
static struct buf load_and_save(struct span image)
{
    struct buf saved;
    buf_init(&saved, SIZE_MAX);
    struct machine *m = machine_new(NULL);
    if (machine_load(m, image) == ST_OK) {
        machine_check(m);
        machine_save(m, &saved);
    }
    machine_free(m);
    return saved;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span image = span_of(data, size);
    struct buf saved = load_and_save(image);
    if (saved.size > 0 && saved.data[0] == data[0]) {
        CHECK(span_equal(image, buf_span(&saved)));
    } else if (saved.size > 0) {
        struct buf again = load_and_save(buf_span(&saved));
        CHECK(span_equal(buf_span(&saved), buf_span(&again)));
        buf_fini(&again);
    }
    buf_fini(&saved);
    return 0;
}
