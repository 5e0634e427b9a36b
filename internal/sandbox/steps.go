package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// The labels of messages in Steps that are not HTTP requests. The label of an
// HTTP request is its method and its path, such as "GET /api/v1/nodes". An
// expected label may be a pattern of path.Match.
const (
	StepTLS    = "TLS"    // the first message of a TLS handshake on a new connection
	StepOutput = "output" // the server's message with the text of Steps.Output, on the connection of an exec or attach
)

// outputStep is the step that consists of StepOutput.
var outputStep = []string{StepOutput}

// Steps asserts how many round trips a client needs. Each step is the set of
// messages that the client sends without waiting for an answer to any of them.
// The server answers the messages of a step only when all of them have arrived.
// If the client waits for an answer before it has sent all of them, Err returns an
// error after the timeout of Expect. Err also returns an error if a message
// arrives that the current step does not contain. Unless the timeout is too short,
// the result does not depend on the speed of the client.
//
// The steps begin with the call of Server.Expect, and end when the last step is
// complete: later messages are not checked. During a step that consists only of
// StepOutput, other messages are not checked either. After an error, the server
// answers all messages at once.
type Steps struct {
	steps   [][]string
	output  string
	timeout time.Duration

	mu       sync.Mutex
	current  int             // the index of the current step
	arrived  []string        // the messages of the current step that have arrived
	complete []chan struct{} // closed when the step is complete, or after an error
	err      error
}

// Expect sets the expected steps; see Steps. output is a part of the output of
// the command. If a step contains StepOutput, the server reads nothing from the
// connection of an exec or attach until it has sent output. timeout is the time
// limit of each step.
func (s *Server) Expect(output string, timeout time.Duration, steps ...[]string) *Steps {
	e := &Steps{steps: steps, output: output, timeout: timeout}
	for range steps {
		e.complete = append(e.complete, make(chan struct{}))
	}
	s.steps.Store(e)
	return e
}

// Err returns how the messages of the client differ from the expected steps, or
// nil.
func (e *Steps) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil && e.current < len(e.steps) {
		return fmt.Errorf("%w: the client has ended", e.missing())
	}
	return e.err
}

// arrive records a message of the client. If the message belongs to the current
// step, arrive returns when the step is complete.
func (e *Steps) arrive(ctx context.Context, label string) {
	if e == nil {
		return
	}
	e.mu.Lock()
	if e.err != nil || e.current == len(e.steps) || label != StepOutput && slices.Equal(e.steps[e.current], outputStep) {
		e.mu.Unlock()
		return
	}
	step, complete := e.current, e.complete[e.current]
	e.arrived = append(e.arrived, label)
	switch missing := without(e.steps[step], e.arrived); {
	case len(missing)+len(e.arrived) > len(e.steps[step]):
		e.fail(fmt.Errorf("step %d is %q, but %q has arrived", step+1, e.steps[step], e.arrived))
	case len(missing) == 0:
		e.current, e.arrived = step+1, nil
		close(complete)
	}
	e.mu.Unlock()
	e.await(ctx, step)
}

// await waits until a step is complete.
func (e *Steps) await(ctx context.Context, step int) {
	timer := time.NewTimer(e.timeout)
	defer timer.Stop()
	select {
	case <-e.complete[step]:
	case <-ctx.Done():
	case <-timer.C:
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.err == nil && e.current <= step {
			e.fail(fmt.Errorf("%w within %v", e.missing(), e.timeout))
		}
	}
}

// awaitOutput waits until the output was sent, if a step contains StepOutput.
func (e *Steps) awaitOutput(ctx context.Context) {
	if e == nil {
		return
	}
	if i := slices.IndexFunc(e.steps, func(step []string) bool { return slices.Contains(step, StepOutput) }); i >= 0 {
		e.await(ctx, i)
	}
}

// sent is called with each message that the server is about to send on the
// connection of an exec or attach.
func (e *Steps) sent(ctx context.Context, p []byte) {
	if e != nil && bytes.Contains(p, []byte(e.output)) {
		e.arrive(ctx, StepOutput)
	}
}

// missing returns an error that names the messages that have not arrived. The
// caller must hold the lock.
func (e *Steps) missing() error {
	return fmt.Errorf("step %d: %s has not arrived", e.current+1,
		strings.Join(without(e.steps[e.current], e.arrived), ", "))
}

// fail ends the steps with an error. The caller must hold the lock.
func (e *Steps) fail(err error) {
	e.err = errors.Join(e.err, err)
	for ; e.current < len(e.steps); e.current++ {
		close(e.complete[e.current])
	}
}

// without returns patterns without those that match labels. Each label removes at
// most one pattern, the first that matches.
func without(patterns, labels []string) []string {
	rest := slices.Clone(patterns)
	for _, label := range labels {
		matches := func(pattern string) bool {
			ok, err := path.Match(pattern, label)
			return ok && err == nil
		}
		if i := slices.IndexFunc(rest, matches); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
		}
	}
	return rest
}
