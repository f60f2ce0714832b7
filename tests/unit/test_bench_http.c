/* The load generator's HTTP client and reply reader, over a socket pair: whatever the pieces in
 * which a reply comes, and whatever is wrong with it. */
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/bench.h"
#include "cli/bench_http.h"

Suite *suite_bench_http(void);

static struct http_connection client;
static int server_fd;

static void setup(void)
{
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    http_init(&client);
    client.fd = pair[0];
    ck_assert_int_eq(fcntl(client.fd, F_SETFL, O_NONBLOCK), 0);
    server_fd = pair[1];
    ck_assert_int_eq(http_start(&client, span_text("GET / HTTP/1.1\r\n\r\n")), HTTP_WAIT);
}

static void teardown(void)
{
    http_fini(&client);
    if (server_fd >= 0)
        close(server_fd);
}

static enum http_progress feed(const char *bytes, size_t size)
{
    ck_assert_int_eq(write(server_fd, bytes, size), (ssize_t)size);
    return http_advance(&client);
}

static enum http_progress feed_text(const char *text)
{
    return feed(text, strlen(text));
}

static enum http_progress feed_slowly(const char *text)
{
    enum http_progress progress = HTTP_WAIT;
    for (; *text != '\0'; text++) {
        ck_assert_int_eq(progress, HTTP_WAIT);
        progress = feed(text, 1);
    }
    return progress;
}

static void expect_body(const char *text)
{
    ck_assert_msg(span_equal(http_body(&client), span_text(text)), "body is \"%.*s\"",
                  SPAN_ARG(http_body(&client)));
}

static const char plain[] = "HTTP/1.1 200 OK\r\nX: y\r\ncontent-length:  5 \r\n\r\nhello";
static const char chunked[] = "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"
                              "2\r\nhe\r\nA;name=value\r\nllo, world\r\n0\r\nTrailer: x\r\n\r\n";

START_TEST(test_reply_at_once)
{
    ck_assert_int_eq(feed_text(plain), HTTP_DONE);
    ck_assert_int_eq(client.status, 200);
    ck_assert(!client.close);
    expect_body("hello");
}
END_TEST

START_TEST(test_reply_byte_by_byte)
{
    ck_assert_int_eq(feed_slowly(plain), HTTP_DONE);
    expect_body("hello");
}
END_TEST

START_TEST(test_chunks_at_once)
{
    ck_assert_int_eq(feed_text(chunked), HTTP_DONE);
    ck_assert_int_eq(client.status, 404);
    expect_body("hello, world");
}
END_TEST

START_TEST(test_chunks_byte_by_byte)
{
    ck_assert_int_eq(feed_slowly(chunked), HTTP_DONE);
    expect_body("hello, world");
}
END_TEST

START_TEST(test_next_exchange_starts_clean)
{
    ck_assert_int_eq(feed_text(chunked), HTTP_DONE);
    ck_assert_int_eq(http_start(&client, span_text("GET / HTTP/1.1\r\n\r\n")), HTTP_WAIT);
    ck_assert_int_eq(feed_text("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n"),
                     HTTP_DONE);
    ck_assert_int_eq(client.status, 200);
    ck_assert(client.close);
    expect_body("");
}
END_TEST

START_TEST(test_large_body_grows_the_buffer)
{
    enum { SIZE = 3000000, PIECE = 50000 };
    char *piece = malloc(PIECE);
    memset(piece, 'x', PIECE);
    ck_assert_int_eq(feed_text("HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n"), HTTP_WAIT);
    for (int sent = PIECE; sent < SIZE; sent += PIECE)
        ck_assert_int_eq(feed(piece, PIECE), HTTP_WAIT);
    ck_assert_int_eq(feed(piece, PIECE), HTTP_DONE);
    ck_assert_uint_eq(http_body(&client).size, SIZE);
    free(piece);
}
END_TEST

/* Data and the end in one go: with edge-triggered epoll there is no second chance to see the end.
 */
START_TEST(test_end_right_behind_half_a_reply)
{
    static const char half[] = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
    ck_assert_int_eq(write(server_fd, half, sizeof half - 1), (ssize_t)sizeof half - 1);
    close(server_fd);
    server_fd = -1;
    ck_assert_int_eq(http_advance(&client), HTTP_BROKEN);
    ck_assert_ptr_nonnull(client.problem);
}
END_TEST

static const char *const bad_replies[] = {
    "garbage\r\n\r\n",
    "\r\n\r\n",
    "HTTP/1.1 \r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
};

START_TEST(test_bad_reply_is_refused)
{
    ck_assert_int_eq(feed_text(bad_replies[_i]), HTTP_BROKEN);
    ck_assert_ptr_nonnull(client.problem);
}
END_TEST

START_TEST(test_keys_are_counted_outside_text_only)
{
    /* Long enough for the wide search, with keys at every distance from its steps. */
    struct buf json;
    buf_init(&json, 100000);
    for (unsigned i = 0; i < 100; i++) {
        ck_assert_uint_eq(json_count_key(buf_span(&json), "offset"), i);
        buf_printf(&json, "{\"value\":\"%.*s \\\"offset\\\":1\",\"next_offset\":7,\"offset\":%u},",
                   (int)(i % 37), "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", i);
    }
    uint64_t number = 0;
    ck_assert(json_find_u64(buf_span(&json), "next_offset", &number));
    ck_assert_uint_eq(number, 7);
    ck_assert(!json_find_u64(buf_span(&json), "value", &number));
    buf_fini(&json);
}
END_TEST

START_TEST(test_strings_one_after_the_other)
{
    struct span json = span_text("[{\"id\":\"a\"},{\"id\": \"bc\"},{\"id\":1},{\"id\":\"open");
    struct span text;
    size_t from = 0;
    ck_assert(json_next_string(json, "id", &from, &text));
    ck_assert(span_equal(text, span_text("a")));
    ck_assert(json_next_string(json, "id", &from, &text));
    ck_assert(span_equal(text, span_text("bc")));
    ck_assert(!json_next_string(json, "id", &from, &text));
}
END_TEST

Suite *suite_bench_http(void)
{
    Suite *s = suite_create("bench_http");
    TCase *tc = tcase_create("bench_http");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_reply_at_once);
    tcase_add_test(tc, test_reply_byte_by_byte);
    tcase_add_test(tc, test_chunks_at_once);
    tcase_add_test(tc, test_chunks_byte_by_byte);
    tcase_add_test(tc, test_next_exchange_starts_clean);
    tcase_add_test(tc, test_large_body_grows_the_buffer);
    tcase_add_test(tc, test_end_right_behind_half_a_reply);
    tcase_add_loop_test(tc, test_bad_reply_is_refused, 0,
                        (int)(sizeof bad_replies / sizeof bad_replies[0]));
    tcase_add_test(tc, test_keys_are_counted_outside_text_only);
    tcase_add_test(tc, test_strings_one_after_the_other);
    suite_add_tcase(s, tc);
    return s;
}
