/* Promises of fwb.h that are easier to ask in C. */
#include "fwb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what) do { if (!(what)) { printf("%s:%d: %s\n", __FILE__, __LINE__, #what); exit(1); } } while (0)

static uint64_t clock_us;
static uint8_t sent[4096];
static size_t sent_size, room = SIZE_MAX;

static size_t put(void *ctx, const uint8_t *data, size_t size)
{
    (void)ctx;
    if (size > room) size = room;
    memcpy(sent + sent_size, data, size);
    sent_size += size;
    room -= size;
    return size;
}

static enum fwb_status answer = FWB_DONE; /* of the actuator */
static int actuated;

static uint64_t now_us(void *ctx) { (void)ctx; return clock_us; }

static enum fwb_status actuate(void *ctx, uint8_t index, fwb_value value, fwb_value *readback)
{
    (void)ctx; (void)index;
    *readback = value;
    actuated++;
    return answer;
}

static const fwb_callbacks calls = { put, now_us, actuate, NULL, NULL, NULL };
static const fwb_stream streams[1] = { { "a", "1", FWB_U32, { .u = 0 }, { .u = 9 }, 0 } };
static const fwb_actuator actuators[1] = { { "b", "1", FWB_U32, { .u = 0 }, { .u = 9 }, { .u = 0 } } };
static fwb_record ring[8];

static fwb_config good(void)
{
    fwb_config c = { .device = "d", .firmware = "f", .boot = 1, .n_streams = 1, .n_actuators = 1, .streams = streams,
                     .actuators = actuators, .ring = ring, .ring_size = 8, .silence_ms = 1000, .call = &calls };
    return c;
}

static void wrong_configs_are_refused(void)
{
    static const fwb_stream nameless[1] = { { NULL, "1", FWB_U32, { .u = 0 }, { .u = 9 }, 0 } };
    static const fwb_stream typeless[1] = { { "a", "1", 4, { .u = 0 }, { .u = 9 }, 0 } };
    static const fwb_callbacks mute = { NULL, now_us, actuate, NULL, NULL, NULL };
    fwb_t b;
    fwb_config c = good();
    CHECK(fwb_init(&b, &c) == FWB_OK);
    c = good(); c.device = NULL; CHECK(fwb_init(&b, &c) == FWB_E_CONFIG);
    c = good(); c.device = "123456789012345678901234567890123"; CHECK(fwb_init(&b, &c) == FWB_E_CONFIG);
    c = good(); c.ring_size = 7; CHECK(fwb_init(&b, &c) == FWB_E_CONFIG);
    c = good(); c.ring_size = 0; CHECK(fwb_init(&b, &c) == FWB_E_CONFIG);
    c = good(); c.silence_ms = 0; CHECK(fwb_init(&b, &c) == FWB_E_CONFIG);
    c = good(); c.n_streams = 65; CHECK(fwb_init(&b, &c) == FWB_E_CONFIG);
    c = good(); c.n_actuators = 33; CHECK(fwb_init(&b, &c) == FWB_E_CONFIG);
    c = good(); c.streams = nameless; CHECK(fwb_init(&b, &c) == FWB_E_CONFIG);
    c = good(); c.streams = typeless; CHECK(fwb_init(&b, &c) == FWB_E_CONFIG);
    c = good(); c.call = &mute; CHECK(fwb_init(&b, &c) == FWB_E_CONFIG);
    /* A refused bridge is inert, not dangerous. */
    fwb_receive(&b, (const uint8_t *)"abc\0", 4);
    fwb_poll(&b);
    CHECK(fwb_sample(&b, 0, (fwb_value){ .u = 1 }) == FWB_E_INDEX);
    CHECK(fwb_log(&b, 0, "x") == FWB_E_BUSY);
    fwb_reconnected(&b);
}

static void a_line_that_takes_one_byte_at_a_time_gets_whole_frames(void)
{
    static fwb_t b;
    static fwb_config c;
    c = good();
    sent_size = 0;
    CHECK(fwb_init(&b, &c) == FWB_OK);
    for (int i = 0; i < 300; i++) {
        room = 1;
        fwb_poll(&b);
    }
    room = SIZE_MAX;
    CHECK(sent[0] == 0);
    size_t end = 1;
    while (sent[end]) end++;
    CHECK(end + 1 == sent_size);
    CHECK(fwb_frame_open(sent + 1, end - 1) > 0);
}

static void indexes_and_logs(void)
{
    static fwb_t b;
    static fwb_config c;
    c = good();
    CHECK(fwb_init(&b, &c) == FWB_OK);
    CHECK(fwb_sample(&b, 1, (fwb_value){ .u = 1 }) == FWB_E_INDEX);
    CHECK(fwb_fault(&b, 1) == FWB_E_INDEX);
    CHECK(fwb_next_sample(&b) == 0);
    CHECK(fwb_log(&b, 9, "one") == FWB_OK);
    CHECK(fwb_log(&b, 0, "two") == FWB_E_BUSY);
    CHECK(b.stats.log_dropped == 1);
    CHECK(fwb_actuated(&b, 0, FWB_DONE, (fwb_value){ .u = 0 }) == FWB_E_INDEX);
    CHECK(fwb_crc32((const uint8_t *)"123456789", 9) == 0xcbf43926);
}

/* One frame from the host. */
static void hear(fwb_t *b, uint8_t type, const uint8_t *payload, size_t size)
{
    uint8_t frame[80] = { 0, type, 0 };
    memcpy(frame + 3, payload, size);
    fwb_receive(b, frame, fwb_frame_seal(frame, size + 2));
}

/* Command `id`: b = 3, in time for ever. */
static void say_command(fwb_t *b, uint8_t id)
{
    const uint8_t payload[] = { 0xa5, 0, 1, 1, id, 2, 0, 3, 3, 4, 0x1a, 0x7f, 0, 0, 0 };
    hear(b, 4, payload, sizeof payload);
}

static void greet(fwb_t *b, fwb_config *c)
{
    static const uint8_t hello[] = { 0xa2, 0, 1, 1, 9 };
    *c = good();
    CHECK(fwb_init(b, c) == FWB_OK);
    hear(b, 1, hello, sizeof hello);
    CHECK(b->live);
}

static void a_failed_command_leaves_the_safe_value_owed(void)
{
    static fwb_t b;
    static fwb_config c;
    answer = FWB_FAILED;
    greet(&b, &c);
    CHECK(b.unplaced == 1);
    say_command(&b, 1);
    CHECK(b.receipts[0].status == FWB_FAILED && b.unplaced == 1);
    answer = FWB_DONE;
    int before = actuated;
    fwb_poll(&b);
    CHECK(actuated == before + 1 && b.unplaced == 0);
    fwb_poll(&b);
    CHECK(actuated == before + 1);

    answer = FWB_FAILED;
    fwb_safe(&b);
    answer = FWB_DONE;
    say_command(&b, 2);
    CHECK(b.unplaced == 0); /* what was commanded since stays */
}

/* SAFE.active as the host would be told it. */
static int says_safe(fwb_t *b)
{
    static const uint8_t hello[] = { 0xa2, 0, 1, 1, 9 };
    room = SIZE_MAX;
    fwb_poll(b);
    sent_size = 0;
    hear(b, 1, hello, sizeof hello);
    fwb_poll(b);
    for (size_t at = 0, end = 0; end < sent_size; at = ++end) {
        while (sent[end]) end++;
        if (end > at && fwb_frame_open(sent + at, end - at) > 0 && sent[at] == 0x48) return sent[at + 4] == 0xf5;
    }
    CHECK(!"no SAFE was sent");
    return -1;
}

static void the_safe_state_ends_with_a_command_that_is_done(void)
{
    static fwb_t b;
    static fwb_config c;
    greet(&b, &c);
    CHECK(says_safe(&b));
    answer = FWB_FAILED;
    say_command(&b, 1);
    CHECK(says_safe(&b));
    answer = FWB_PENDING;
    say_command(&b, 2);
    CHECK(says_safe(&b));
    CHECK(fwb_actuated(&b, 2, FWB_FAILED, (fwb_value){ .u = 0 }) == FWB_OK);
    CHECK(says_safe(&b));
    say_command(&b, 3);
    CHECK(fwb_actuated(&b, 3, FWB_DONE, (fwb_value){ .u = 3 }) == FWB_OK);
    CHECK(!says_safe(&b));
    answer = FWB_DONE;
    fwb_safe(&b);
    CHECK(says_safe(&b));
    say_command(&b, 4);
    CHECK(!says_safe(&b));
}

int main(void)
{
    a_failed_command_leaves_the_safe_value_owed();
    the_safe_state_ends_with_a_command_that_is_done();
    wrong_configs_are_refused();
    a_line_that_takes_one_byte_at_a_time_gets_whole_frames();
    indexes_and_logs();
    printf("all passed\n");
    return 0;
}
