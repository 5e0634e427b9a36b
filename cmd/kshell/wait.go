package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kshell/internal/pod"
)

// waitFlags say how long to wait for a container that does not run yet.
type waitFlags struct{ running time.Duration }

// runningTimeout is kubectl's default.
const runningTimeout = time.Minute

func (f *waitFlags) addTo(flags *pflag.FlagSet) {
	flags.DurationVar(&f.running, "pod-running-timeout", runningTimeout, "wait so long for the container to run; 0, and the default with --all: do not wait")
}

// check finds what cannot be meant.
func (f *waitFlags) check(cmd *cobra.Command) error {
	return notNegative(cmd, "pod-running-timeout", f.running)
}

// await finds the container, and waits for it up to limit, from the moment on at which there is something to wait for: what the way to the
// server takes does not count. Meanwhile it says why the container does not run yet.
func (a *app) await(ctx context.Context, client *pod.Client, r pod.Request, limit time.Duration) (*pod.Found, error) {
	if limit == 0 {
		return client.Find(ctx, r)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var patience *time.Timer
	defer func() {
		if patience != nil {
			patience.Stop()
		}
	}()
	found, err := client.Wait(ctx, r, func(why string) {
		if patience != nil {
			a.notice.Note("waiting: %s", why)
			return
		}
		a.notice.Note("waiting (up to %v, see --pod-running-timeout): %s", limit, why)
		patience = time.AfterFunc(limit, func() { cancel(context.DeadlineExceeded) })
	})
	return found, upTo(limit, err)
}

// upTo has a wait that its limit has ended say that limit, and not how much later that was noticed.
func upTo(limit time.Duration, err error) error {
	var ranOut *pod.WaitError
	if errors.As(err, &ranOut) && errors.Is(ranOut.Err, context.DeadlineExceeded) {
		ranOut.Waited = limit
	}
	return err
}
