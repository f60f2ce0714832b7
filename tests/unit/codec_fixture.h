/* Commands there and back, for the suites of the codec. Each that includes this has a buffer and an
 * arena of its own, between codec_setup() and codec_teardown(). */
#ifndef TESTS_UNIT_CODEC_FIXTURE_H
#define TESTS_UNIT_CODEC_FIXTURE_H

#include <check.h>

#include "command/codec.h"
#include "command/record_batch.h"
#include "std/check.h"
#include "std/little_endian.h"
#include "tests/unit/golden.h"

#define TIME_US 1700000000123456LL

static struct buf bytes; /* what was encoded last */
static struct arena arena;

static inline void codec_setup(void)
{
    buf_init(&bytes, SIZE_MAX);
    arena_init(&arena);
}

static inline void codec_teardown(void)
{
    buf_fini(&bytes);
    arena_fini(&arena);
}

static inline void encode(struct command *cmd)
{
    cmd->time_us = TIME_US;
    buf_clear(&bytes);
    command_encode(cmd, &bytes);
}

/* Decodes a file of tests/golden/; `now` is what it gets when it is missing. */
static inline struct command decode_golden(const char *name, struct span now,
                                           enum command_type type)
{
    struct buf golden;
    golden_read(name, now, &golden);
    struct span kept = arena_copy(&arena, buf_span(&golden));
    buf_fini(&golden);
    struct command out;
    ck_assert_int_eq(command_decode(kept, &arena, &out), ST_OK);
    ck_assert_int_eq(out.type, type);
    ck_assert_int_eq(out.time_us, TIME_US);
    return out;
}

/* Encodes, compares with the golden file of that name, decodes the file's bytes. */
static inline struct command through_golden(struct command *cmd, const char *name)
{
    encode(cmd);
    struct buf golden;
    golden_read(name, buf_span(&bytes), &golden);
    ck_assert_msg(span_equal(buf_span(&bytes), buf_span(&golden)), "%s differs", name);
    buf_fini(&golden);
    return decode_golden(name, buf_span(&bytes), cmd->type);
}

static inline void assert_text(struct span s, const char *text)
{
    ck_assert(span_equal(s, span_text(text)));
}

/* Decodes what was encoded last, with its size put right. */
static inline enum status decode_now(void)
{
    struct command out;
    store_u32(bytes.data, (uint32_t)bytes.size);
    return command_decode(buf_span(&bytes), &arena, &out);
}

static inline enum status encode_and_decode(struct command *cmd)
{
    encode(cmd);
    return decode_now();
}

/* No part of a command is taken for a whole one, nor one with something behind it. */
static inline void refuses_every_cut(struct command *cmd)
{
    ck_assert_int_eq(encode_and_decode(cmd), ST_OK);
    wire_put_u8(&bytes, 0);
    ck_assert_int_eq(decode_now(), ST_CORRUPT); /* bytes left over */
    for (bytes.size -= 2; bytes.size >= COMMAND_HEADER_SIZE; bytes.size--)
        ck_assert_int_eq(decode_now(), ST_CORRUPT);
    struct command out;
    for (; bytes.size > 0; bytes.size--)
        ck_assert_int_eq(command_decode(buf_span(&bytes), &arena, &out), ST_CORRUPT);
    ck_assert_int_eq(command_decode(span_of(NULL, 0), &arena, &out), ST_CORRUPT);
}

/* A batch in the arena. */
static inline struct span batch_of(const struct record *records, uint32_t count)
{
    struct buf built;
    struct batch_builder builder;
    buf_init(&built, BATCH_SIZE_MAX);
    batch_begin(&builder, &built);
    for (uint32_t i = 0; i < count; i++)
        batch_add(&builder, &records[i]);
    batch_end(&builder);
    struct span batch = arena_copy(&arena, buf_span(&built));
    buf_fini(&built);
    return batch;
}

#endif
