/* SPDX-License-Identifier: Apache-2.0 */
#include "base/stop.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

#include "base/scope.h"

static atomic_bool requested;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t stopped = PTHREAD_COND_INITIALIZER;
static void (*waker)(void *data);
static void *waker_data;

static void *take_signals(void *set)
{
    int number;

    for (;;) {
        if (sigwait(set, &number) != 0) {
            continue;
        }
        /* Somebody who asks twice does not want to wait for the cleaning up. */
        if (atomic_exchange(&requested, true)) {
            _exit(FAIL_STOPPED);
        }
        pthread_mutex_lock(&lock);
        pthread_cond_broadcast(&stopped);
        if (waker != NULL) {
            waker(waker_data);
        }
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static bool is_ignored(int number)
{
    struct sigaction action;

    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

void stop_init(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    static sigset_t set;
    pthread_t thread;

    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
    sigemptyset(&set);
    for (size_t i = 0; i < COUNT(numbers); i++) {
        if (!is_ignored(numbers[i])) {
            sigaddset(&set, numbers[i]);
        }
    }
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (pthread_create(&thread, NULL, take_signals, &set) == 0) {
        (void)pthread_detach(thread);
    }
}

bool stop_requested(void)
{
    return atomic_load(&requested);
}

int stop_check(struct error *err)
{
    return stop_requested() ? fail(err, FAIL_STOPPED, "interrupted") : 0;
}

void stop_sleep(uint64_t ms)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000 * 1000000);
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&lock);
    while (!stop_requested() &&
           pthread_cond_clockwait(&stopped, &lock, CLOCK_MONOTONIC, &until) == 0) {
    }
    pthread_mutex_unlock(&lock);
}

void stop_wake(void (*wake)(void *data), void *data)
{
    pthread_mutex_lock(&lock);
    waker = wake;
    waker_data = data;
    if (waker != NULL && stop_requested()) {
        waker(waker_data);
    }
    pthread_mutex_unlock(&lock);
}
