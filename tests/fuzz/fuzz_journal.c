/* A journal with some of its bytes overwritten: recovery never crashes, and every record that it
 * gives back is one that was written, at its index. What it cannot vouch for it must refuse. Bytes
 * in the input: pairs of position (3 bytes) and new value. */
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "journal/journal.h"
#include "std/check.h"
#include "std/little_endian.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum { SEGMENT_BYTES = 16 * 1024, BATCHES = 12, RECORDS = 3, RECORD_SIZE = 40, EDIT_SIZE = 4 };

static char directory[64], path[128];
static uint8_t image[SEGMENT_BYTES];
static uint64_t used;
static sem_t written;

static void on_done(void *user, struct journal_batch *batch, enum status st)
{
    (void)user;
    (void)batch;
    CHECK(st == ST_OK);
    CHECK(sem_post(&written) == 0);
}

static void make_record(uint64_t index, uint8_t *out)
{
    store_u32(out, RECORD_SIZE);
    for (int i = 4; i < RECORD_SIZE; i++)
        out[i] = (uint8_t)(index * 17 + (uint64_t)i);
}

static void remove_directory(void)
{
    (void)disk_remove_tree(directory, 1);
}

static struct journal_options options_of(bool read_only)
{
    return (struct journal_options){
        .dir = directory, .segment_bytes = SEGMENT_BYTES, .read_only = read_only, .done = on_done};
}

int LLVMFuzzerInitialize(int *argc, char ***argv) /* NOLINT(readability-non-const-parameter) */
{
    (void)argc;
    (void)argv;
    const char *memory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(directory, sizeof directory, "%s/goqueue-fuzz-XXXXXX", memory);
    CHECK(mkdtemp(directory) != NULL);
    CHECK(atexit(remove_directory) == 0);
    CHECK(sem_init(&written, 0, 0) == 0);
    struct journal *journal = NULL;
    struct journal_problem problem;
    struct journal_options options = options_of(false);
    CHECK(journal_open(&options, &journal, &problem) == ST_OK);
    static uint8_t records[RECORDS][RECORD_SIZE];
    for (int i = 0; i < BATCHES; i++) {
        struct journal_batch *batch = journal_batch_begin(journal);
        for (int k = 0; k < RECORDS; k++) {
            make_record(journal_next_index(journal), records[k]);
            journal_batch_add(batch, span_of(records[k], RECORD_SIZE));
        }
        journal_batch_submit(batch);
        while (sem_wait(&written) != 0)
            ;
        journal_batch_end(batch);
    }
    used = 4096 + journal_bytes_since(journal, 1);
    journal_close(journal);
    (void)snprintf(path, sizeof path, "%s/%020d.journal", directory, 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(read(fd, image, sizeof image) == (ssize_t)sizeof image);
    CHECK(close(fd) == 0);
    return 0;
}

static enum status check_record(void *user, uint64_t index, struct span record)
{
    uint8_t expected[RECORD_SIZE];
    uint64_t *next = user;
    make_record(index, expected);
    CHECK(index == (*next)++);
    CHECK(record.size == RECORD_SIZE && memcmp(record.data, expected, RECORD_SIZE) == 0);
    return ST_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t damaged[SEGMENT_BYTES];
    memcpy(damaged, image, sizeof image);
    for (size_t at = 0; at + EDIT_SIZE <= size; at += EDIT_SIZE) {
        uint32_t position = load_u32(data + at) & 0xffffff;
        damaged[position % SEGMENT_BYTES] = data[at + 3];
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK(write(fd, damaged, sizeof damaged) == (ssize_t)sizeof damaged);
    CHECK(close(fd) == 0);

    struct journal *journal = NULL;
    struct journal_problem problem;
    struct journal_options options = options_of(true);
    enum status st = journal_open(&options, &journal, &problem);
    CHECK(st == ST_OK || st == ST_CORRUPT);
    if (st == ST_OK) {
        uint64_t next = 1, expected = BATCHES * (uint64_t)RECORDS;
        CHECK(journal_replay(journal, 1, check_record, &next, &problem) == ST_OK);
        CHECK(next <= expected + 1 && (next - 1) % RECORDS == 0);
        bool last_touched = memcmp(damaged, image, used) != 0;
        CHECK(last_touched || next == expected + 1);
    } else {
        CHECK(memcmp(damaged, image, sizeof image) != 0);
        CHECK(problem.what != NULL);
    }
    journal_close(journal);
    return 0;
}
