/* A device in a process: the bridge library on a terminal, a pseudo-terminal, or standard input and output.
 *
 *     posix [-r samples_per_second] [-d device_id] [PATH]
 *
 * Streams: count (its value is its sample number: tests check every one), wave, door. Actuators: valve (0 to 100 %,
 * safe 0), rate (samples per second), burst (that many at once), motor (takes 200 ms: a pending command),
 * echo (its value comes back at once as a sample of stream reply: latency). */
#include "fwb.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { COUNT, WAVE, DOOR, REPLY };
enum { VALVE, RATE, BURST, MOTOR, REPEAT };

static const fwb_stream streams[] = {
    { "count", "1", FWB_U32, { .u = 0 }, { .u = UINT32_MAX }, 0 },
    { "wave", "Cel", FWB_F32, { .f = -50 }, { .f = 50 }, 0 },
    { "door", "1", FWB_BOOL, { .u = 0 }, { .u = 1 }, 0 },
    { "reply", "1", FWB_U32, { .u = 0 }, { .u = UINT32_MAX }, 0 },
};

static fwb_actuator actuators[] = {
    { "valve", "%", FWB_F32, { .f = 0 }, { .f = 100 }, { .f = 0 } },
    { "rate", "Hz", FWB_U32, { .u = 0 }, { .u = 20000 }, { .u = 100 } },
    { "burst", "1", FWB_U32, { .u = 0 }, { .u = 100000 }, { .u = 0 } },
    { "motor", "1", FWB_I32, { .i = -10 }, { .i = 10 }, { .i = 0 } },
    { "echo", "1", FWB_U32, { .u = 0 }, { .u = UINT32_MAX }, { .u = 0 } },
};

typedef struct {
    fwb_t bridge;
    int in, out;
    fwb_value place[5];
    uint32_t motor_id;
    uint64_t motor_us;
} device;

static uint64_t now_us(void *ctx)
{
    struct timespec t;
    (void)ctx;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static size_t put(void *ctx, const uint8_t *data, size_t size)
{
    device *d = ctx;
    ssize_t taken = write(d->out, data, size);
    return taken > 0 ? (size_t)taken : 0;
}

static void record(device *d, uint32_t count)
{
    while (count--) {
        uint32_t number = fwb_next_sample(&d->bridge);
        if (number % 10 == 9) fwb_sample(&d->bridge, WAVE, (fwb_value){ .f = 40.0f * sinf((float)number / 100.0f) });
        else if (number % 100 == 50) fwb_sample(&d->bridge, DOOR, (fwb_value){ .u = number / 100 % 2 });
        else fwb_sample(&d->bridge, COUNT, (fwb_value){ .u = number });
    }
}

static enum fwb_status actuate(void *ctx, uint8_t index, fwb_value value, fwb_value *readback)
{
    device *d = ctx;
    d->place[index] = value;
    *readback = value;
    if (index == BURST) record(d, value.u);
    if (index == REPEAT && fwb_command_id(&d->bridge)) fwb_sample(&d->bridge, REPLY, value);
    if (index != MOTOR || !fwb_command_id(&d->bridge)) return FWB_DONE;
    d->motor_id = fwb_command_id(&d->bridge);
    d->motor_us = now_us(NULL) + 200000;
    return FWB_PENDING;
}

static void health(void *ctx, fwb_health *h)
{
    (void)ctx;
    h->reset_cause = FWB_RESET_POWER;
}

static const fwb_callbacks callbacks = { put, now_us, actuate, health, NULL, NULL };

static int open_line(device *d, const char *path)
{
    d->in = STDIN_FILENO;
    d->out = STDOUT_FILENO;
    if (path) {
        d->in = d->out = open(path, O_RDWR | O_NOCTTY);
        if (d->in < 0) return 0;
    }
    struct termios raw;
    if (tcgetattr(d->in, &raw) == 0) {
        raw.c_iflag = raw.c_oflag = raw.c_lflag = 0;
        raw.c_cc[VMIN] = 1;
        tcsetattr(d->in, TCSANOW, &raw);
    }
    fcntl(d->in, F_SETFL, fcntl(d->in, F_GETFL) | O_NONBLOCK);
    fcntl(d->out, F_SETFL, fcntl(d->out, F_GETFL) | O_NONBLOCK);
    return 1;
}

static void work(device *d, double *owed, uint64_t *last_us)
{
    uint64_t now = now_us(NULL);
    *owed += (double)(now - *last_us) * 1e-6 * (double)d->place[RATE].u;
    *last_us = now;
    record(d, (uint32_t)*owed);
    *owed -= (double)(uint32_t)*owed;
    if (d->motor_id && now >= d->motor_us) {
        fwb_actuated(&d->bridge, d->motor_id, FWB_DONE, d->place[MOTOR]);
        d->motor_id = 0;
    }
}

static int run(device *d)
{
    double owed = 0;
    uint64_t last_us = now_us(NULL);
    for (;;) {
        uint8_t bytes[4096];
        struct pollfd line = { d->in, POLLIN, 0 };
        poll(&line, 1, 1);
        ssize_t got = read(d->in, bytes, sizeof bytes);
        if (got == 0 || (got < 0 && errno != EAGAIN)) return 0;
        if (got > 0) fwb_receive(&d->bridge, bytes, (size_t)got);
        work(d, &owed, &last_us);
        fwb_poll(&d->bridge);
    }
}

int main(int argc, char **argv)
{
    static fwb_record ring[65536];
    static device d;
    fwb_config config = { .device = "posix-1", .firmware = "1.0.0", .n_streams = 4, .n_actuators = 5,
                          .streams = streams, .actuators = actuators, .ring = ring, .ring_size = 65536,
                          .silence_ms = 1000,
                          .health_ms = 1000, .call = &callbacks, .ctx = &d };
    for (int option; (option = getopt(argc, argv, "r:d:")) != -1;) {
        if (option == 'r') actuators[RATE].safe.u = (uint32_t)strtoul(optarg, NULL, 10);
        if (option == 'd') config.device = optarg;
    }
    config.boot = (uint32_t)now_us(NULL) ^ (uint32_t)getpid() << 16;
    if (!open_line(&d, optind < argc ? argv[optind] : NULL)) {
        perror(argv[optind]);
        return 1;
    }
    if (fwb_init(&d.bridge, &config) != FWB_OK) return 1;
    fwb_log(&d.bridge, 1, "started");
    return run(&d);
}
