/* A device for tests: fwb.c with a clock that the test sets, a line that takes as much as the test says, and a record of
 * what the actuators were told. With -DMAIN: feeds standard input to it in odd pieces, for the sanitizers. */
#include "fwb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUT_SIZE = 1 << 20, ACTS = 4096 };

static const fwb_stream streams[] = {
    { "count", "1", FWB_U32, { .u = 0 }, { .u = UINT32_MAX }, 0 },
    { "temp", "Cel", FWB_F32, { .f = -40 }, { .f = 125 }, 100000 },
    { "level", "mm", FWB_I32, { .i = -1000 }, { .i = 1000 }, 0 },
    { "door", "1", FWB_BOOL, { .u = 0 }, { .u = 1 }, 0 },
};

static const fwb_actuator actuators[] = {
    { "valve", "%", FWB_F32, { .f = 0 }, { .f = 100 }, { .f = 5 } },
    { "step", "1", FWB_I32, { .i = -10 }, { .i = 10 }, { .i = -1 } },
    { "rate", "Hz", FWB_U32, { .u = 0 }, { .u = 20000 }, { .u = 0 } },
    { "lamp", "1", FWB_BOOL, { .u = 0 }, { .u = 1 }, { .u = 1 } },
};

typedef struct {
    fwb_t bridge;
    fwb_config config;
    fwb_callbacks call;
    uint64_t now_us;
    size_t room, out_size;
    uint32_t acts, act[ACTS][3]; /* index, value, command id */
    int status;                  /* what actuate returns */
    int locks;
    fwb_record *ring;
    uint8_t out[OUT_SIZE];
} sim;

static size_t put(void *ctx, const uint8_t *data, size_t size)
{
    sim *s = ctx;
    if (size > s->room) size = s->room;
    if (size > OUT_SIZE - s->out_size) size = OUT_SIZE - s->out_size;
    memcpy(s->out + s->out_size, data, size);
    s->out_size += size;
    s->room -= size;
    return size;
}

static uint64_t now_us(void *ctx) { return ((sim *)ctx)->now_us; }

static enum fwb_status actuate(void *ctx, uint8_t index, fwb_value value, fwb_value *readback)
{
    sim *s = ctx;
    uint32_t *act = s->act[s->acts++ % ACTS];
    act[0] = index;
    act[1] = value.u;
    act[2] = fwb_command_id(&s->bridge);
    *readback = value;
    return (enum fwb_status)s->status;
}

static void lock(void *ctx) { if (((sim *)ctx)->locks++ != 0) abort(); }
static void unlock(void *ctx) { if (--((sim *)ctx)->locks != 0) abort(); }

void *sim_new(uint32_t boot, uint32_t ring_size, int has_prev, uint32_t prev_boot, uint32_t prev_next);
void *sim_new(uint32_t boot, uint32_t ring_size, int has_prev, uint32_t prev_boot, uint32_t prev_next)
{
    sim *s = calloc(1, sizeof *s);
    s->ring = malloc(ring_size * sizeof *s->ring);
    s->room = SIZE_MAX;
    s->call = (fwb_callbacks){ put, now_us, actuate, NULL, lock, unlock };
    s->config = (fwb_config){ .device = "sim-1", .firmware = "1.2.3", .boot = boot, .has_prev = (uint8_t)has_prev,
                              .prev_boot = prev_boot, .prev_next = prev_next, .n_streams = 4, .n_actuators = 4,
                              .streams = streams, .actuators = actuators, .ring = s->ring, .ring_size = ring_size,
                              .silence_ms = 1000, .health_ms = 1000, .call = &s->call, .ctx = s };
    if (fwb_init(&s->bridge, &s->config) != FWB_OK) abort();
    return s;
}

void sim_free(sim *s);
void sim_free(sim *s)
{
    free(s->ring);
    free(s);
}

/* Sample numbers start here instead of 0: to reach their wrap. */
void sim_start_at(sim *s, uint32_t number);
void sim_start_at(sim *s, uint32_t number)
{
    s->bridge.acked = s->bridge.first = s->bridge.sent = s->bridge.next = number;
}

void sim_time(sim *s, uint64_t us);
void sim_time(sim *s, uint64_t us) { s->now_us = us; }
void sim_room(sim *s, size_t room);
void sim_room(sim *s, size_t room) { s->room = room; }
void sim_status(sim *s, int status);
void sim_status(sim *s, int status) { s->status = status; }
void sim_feed(sim *s, const uint8_t *data, size_t size);
void sim_feed(sim *s, const uint8_t *data, size_t size) { fwb_receive(&s->bridge, data, size); }
void sim_poll(sim *s);
void sim_poll(sim *s) { fwb_poll(&s->bridge); }
void sim_reconnected(sim *s);
void sim_reconnected(sim *s) { fwb_reconnected(&s->bridge); }
void sim_safe(sim *s);
void sim_safe(sim *s) { fwb_safe(&s->bridge); }
int sim_sample(sim *s, uint8_t stream, uint32_t raw);
int sim_sample(sim *s, uint8_t stream, uint32_t raw) { return fwb_sample(&s->bridge, stream, (fwb_value){ .u = raw }); }
int sim_fault(sim *s, uint8_t stream);
int sim_fault(sim *s, uint8_t stream) { return fwb_fault(&s->bridge, stream); }
int sim_log(sim *s, uint8_t level, const char *text);
int sim_log(sim *s, uint8_t level, const char *text) { return fwb_log(&s->bridge, level, text); }
int sim_actuated(sim *s, uint32_t id, int status, uint32_t raw);
int sim_actuated(sim *s, uint32_t id, int status, uint32_t raw)
{
    return fwb_actuated(&s->bridge, id, (enum fwb_status)status, (fwb_value){ .u = raw });
}
uint32_t sim_next(sim *s);
uint32_t sim_next(sim *s) { return fwb_next_sample(&s->bridge); }
uint32_t sim_acked(sim *s);
uint32_t sim_acked(sim *s) { return s->bridge.acked; }
const fwb_stats *sim_stats(sim *s);
const fwb_stats *sim_stats(sim *s) { return &s->bridge.stats; }
uint32_t sim_acts(sim *s);
uint32_t sim_acts(sim *s) { return s->acts; }
const uint32_t *sim_act(sim *s, uint32_t at);
const uint32_t *sim_act(sim *s, uint32_t at) { return s->act[at % ACTS]; }

/* What went out since the last call. */
size_t sim_take(sim *s, uint8_t *to, size_t size);
size_t sim_take(sim *s, uint8_t *to, size_t size)
{
    if (size > s->out_size) size = s->out_size;
    memcpy(to, s->out, size);
    memmove(s->out, s->out + size, s->out_size - size);
    s->out_size -= size;
    return size;
}

#ifdef MAIN
int main(void)
{
    sim *s = sim_new(7, 64, 0, 0, 0);
    uint8_t bytes[4096];
    uint32_t dice = 1;
    size_t got;
    while ((got = fread(bytes, 1, sizeof bytes, stdin)) > 0)
        for (size_t at = 0; at < got;) {
            dice = dice * 1664525u + 1013904223u;
            size_t piece = dice >> 24 & 63;
            if (piece > got - at) piece = got - at;
            /* An exact copy on the heap, so that reading past the piece is seen. */
            uint8_t *copy = malloc(piece);
            memcpy(copy, bytes + at, piece);
            sim_feed(s, copy, piece);
            free(copy);
            at += piece;
            s->now_us += dice >> 12;
            s->room = dice >> 20;
            sim_sample(s, dice >> 8 & 3, dice);
            if (!(dice >> 16 & 15)) sim_log(s, 1, "noise, and more noise, and more noise, and more noise \303\244\303\244\303\244\303\244\303\244");
            sim_poll(s);
            s->out_size = 0;
        }
    const fwb_stats *t = &s->bridge.stats;
    printf("{\"good\": %u, \"crc_errors\": %u, \"bad_frames\": %u, \"oversize\": %u, \"bad_messages\": %u, \"unknown\": %u}\n",
           t->good, t->crc_errors, t->bad_frames, t->oversize, t->bad_messages, t->unknown);
    sim_free(s);
    return 0;
}
#endif
