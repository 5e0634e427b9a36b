package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"kshell/internal/kubeconfig"
	"kshell/internal/node"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/remote"
)

// nodeShells makes pods on nodes, and removes them.
type nodeShells struct {
	*app
	plan    *nodePlan
	cluster *remote.Cluster
	client  *node.Client
	pods    *pod.Client

	allowed sync.Once // the rights were looked at
	refusal error
	sweeps  sync.WaitGroup
}

func (a *app) newNodeShells(kube *kubeconfig.Connection, p *nodePlan) (*nodeShells, error) {
	client, err := node.NewClient(kube.Config)
	if err != nil {
		return nil, err
	}
	client.OnIgnoredSelector = a.env().SelectorIgnored
	cluster, err := remote.NewCluster(a.env(), kube.Config, false)
	if err != nil {
		return nil, err
	}
	return &nodeShells{app: a, plan: p, cluster: cluster, client: client, pods: cluster.Pods()}, nil
}

// lookingAt bounds requests for information that kshell can do without.
const lookingAt = 10 * time.Second

// look returns the options for a node. They depend on the node object if the
// user may read it; nodes that cannot be read count as Linux.
func (s *nodeShells) look(ctx context.Context, n *notice.Printer, name string) (node.Options, error) {
	o := s.plan.options
	o.Node, o.Name, o.CreatedAt = name, node.Name(name), time.Now()
	ctx, cancel := context.WithTimeout(ctx, lookingAt)
	defer cancel()
	found, err := s.client.Node(ctx, name)
	var unseen *node.LookupError
	switch {
	case errors.As(err, &unseen) && unseen.NotFound():
		return o, err
	case err != nil:
		n.Detail("node %s was not looked at, and is taken for one of Linux: %s", name, err)
	default:
		o.Windows = node.IsWindows(found)
		if why := node.NotReady(found); why != "" {
			n.WarnAlways("node %s %s", name, why)
		}
	}
	if o.Windows {
		o.Shell = false
	}
	switch {
	case o.Image != "":
	case o.Windows:
		o.Image = nodeImageDefaultWindows
	default:
		o.Image = nodeImageDefault
	}
	return o, nil
}

// print prints the manifest of the pod.
func (s *nodeShells) print(ctx context.Context) error {
	o, err := s.look(ctx, s.notice, s.plan.node)
	if err != nil {
		return err
	}
	text, err := node.YAML(node.Pod(o))
	if err != nil {
		return err
	}
	_, _ = s.printed.Write(text) // which remembers
	return nil
}

// nodeRules returns the rights that a node shell needs in its namespace.
func nodeRules(shell, exists bool) []pod.Rule {
	rules := []pod.Rule{{Verb: "get", Resource: "pods"}, {Verb: "delete", Resource: "pods"}, {Verb: "watch", Resource: "pods"}}
	if !exists {
		rules = append([]pod.Rule{{Verb: "create", Resource: "pods"}}, rules...)
	}
	rules = append(rules, pod.ExecRules()...)
	if shell {
		rules = append(rules, pod.Rule{Verb: "get", Resource: "pods", Subresource: "attach"}, pod.Rule{Verb: "create", Resource: "pods", Subresource: "attach"},
			pod.Rule{Verb: "get", Resource: "pods", Subresource: "log"})
	}
	return rules
}

// allow returns an error that names the missing rights, before anything is
// created. Rights that cannot be checked are left for the server to refuse.
func (s *nodeShells) allow(ctx context.Context) error {
	s.allowed.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, cmp.Or(limits.Rights, 3*time.Second))
		defer cancel()
		rules := nodeRules(s.plan.interactive(), s.plan.attaching)
		lacking, failed := make([]bool, len(rules)), make([]error, len(rules))
		var questions sync.WaitGroup
		for i, rule := range rules {
			questions.Go(func() {
				defer s.cleanup.OnPanic()
				missing, err := s.pods.DeniedRules(ctx, s.plan.options.Namespace, rule)
				lacking[i], failed[i] = len(missing) > 0, err
			})
		}
		questions.Wait()
		if err := errors.Join(failed...); err != nil {
			s.notice.Detail("which rights there are is not known: %s", failed[0])
			return
		}
		var missing []pod.Rule
		for i, rule := range rules {
			if lacking[i] {
				missing = append(missing, rule)
			}
		}
		if len(missing) > 0 {
			s.refusal = &pod.ForbiddenError{Namespace: s.plan.options.Namespace, Denied: missing, Err: errors.New("a node shell needs these rights")}
		}
	})
	return s.refusal
}

// nodePod is a pod that kshell created on a node, or attaches to.
type nodePod struct {
	*nodeShells
	notice  *notice.Printer
	options node.Options
	pod     *corev1.Pod
	release func()

	// Also used by remove after a panic, in any goroutine.
	keep  atomic.Bool           // leave the pod running
	ended atomic.Bool           // its shell or command has ended
	here  atomic.Pointer[visit] // of this kshell; other clients may be attached
}

// open creates a pod on a node and waits until it runs. The caller must remove
// a pod that is returned, also if there is an error.
func (s *nodeShells) open(ctx context.Context, n *notice.Printer, name string) (*nodePod, remote.Target, error) {
	if err := s.allow(ctx); err != nil {
		return nil, remote.Target{}, err
	}
	o, err := s.look(ctx, n, name)
	if err != nil {
		return nil, remote.Target{}, err
	}
	p, err := s.create(ctx, n, o)
	if err != nil {
		return nil, remote.Target{}, err
	}
	at, err := p.start(ctx)
	var not *pod.NotRunningError
	if !errors.As(err, &not) || !not.RefusesPropagation() {
		return p, at, err
	}
	p.remove()
	n.Detail("node %s refuses mount propagation because its root is a private mount: the pod is created again without it", name)
	if o.NeedsPropagation() {
		n.Note("file systems that are mounted on node %s from now on are not visible here: the node's root is a private mount", name)
	}
	o.Name, o.NoPropagation = node.Name(name), true
	if p, err = s.create(ctx, n, o); err != nil {
		return nil, remote.Target{}, err
	}
	at, err = p.start(ctx)
	return p, at, err
}

// create creates a pod. The caller must remove it.
func (s *nodeShells) create(ctx context.Context, n *notice.Printer, o node.Options) (*nodePod, error) {
	if ctx.Err() != nil { // a signal came before this
		n.Note("no pod was created")
		return nil, context.Cause(ctx)
	}
	wanted := node.Pod(o)
	p := &nodePod{nodeShells: s, notice: n, options: o}
	defer s.cleanup.Register(nil)()
	// The answer decides whether there is a pod to delete.
	asking, cancel := s.cleanup.OutliveContext(ctx, lookingAt)
	defer cancel()
	made, err := s.client.Create(asking, wanted)
	var refused *node.CreateError
	if errors.As(err, &refused) && refused.Cause == node.QuotaNeedsResources {
		n.Detail("%s: asking for --cpu %s and --memory %s", err, s.plan.cpu, s.plan.memory)
		if wanted, err = node.WithResources(wanted, s.plan.cpu, s.plan.memory); err == nil {
			made, err = s.client.Create(asking, wanted)
		}
	}
	if err != nil {
		p.lost(wanted, err)
		return nil, s.explainCreate(ctx, err)
	}
	p.pod = made
	p.release = s.cleanup.Register(p.remove)
	n.Detail("pod %s was created on node %s, image %s", made.Name, o.Node, o.Image)
	return p, nil
}

// lostAfter is the time between two requests for a pod that may have been
// created.
const lostAfter = 500 * time.Millisecond

// lost deletes a pod that may have been created although the server did not
// confirm it, and warns if the pod may be left.
func (p *nodePod) lost(wanted *corev1.Pod, err error) {
	var refused *node.CreateError
	if !errors.As(err, &refused) || refused.Rejected() || refused.NotSent() {
		return
	}
	ctx, cancel := p.cleanup.Context()
	defer cancel()
	found, err := p.client.Get(ctx, wanted.Namespace, wanted.Name)
	if apierrors.IsNotFound(err) && !refused.ServerFailed() && sleep(ctx, lostAfter) { // it may still be created
		found, err = p.client.Get(ctx, wanted.Namespace, wanted.Name)
	}
	if err == nil { // no other pod has the name
		err = p.client.Remove(ctx, found)
	}
	switch {
	case err == nil:
		p.notice.Detail("pod %s was deleted", wanted.Name)
	case apierrors.IsNotFound(err) && refused.ServerFailed():
		p.notice.Detail("pod %s was not created", wanted.Name)
	default:
		span := p.options.HeartbeatTimeout
		if p.options.Detached {
			span = p.options.TTL
		}
		p.notice.WarnAlways("pod %s may have been created in namespace %s: the server did not answer; such a pod ends by itself after %v", wanted.Name, wanted.Namespace, span)
		p.notice.Hint("kubectl delete pod %s -n %s --ignore-not-found", wanted.Name, wanted.Namespace)
	}
}

// sleep waits for d, and reports whether ctx has not ended by then.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// explainCreate adds a hint with the namespaces that allow the pod.
func (s *nodeShells) explainCreate(ctx context.Context, err error) error {
	var refused *node.CreateError
	if !errors.As(err, &refused) || refused.Cause != node.PodSecurity {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(limits.Rights, 3*time.Second))
	defer cancel()
	say, silent, unseen := s.client.PrivilegedNamespaces(ctx)
	hint := refused.Hint()
	switch {
	case unseen != nil:
		s.notice.Detail("which namespaces allow it is not known: %s", unseen)
	case len(say) > 0:
		hint = "-n takes another namespace; these allow it: " + someOf(say) + "\n" + hint
	case len(silent) > 0:
		hint = "-n takes another namespace; these have no level of their own: " + someOf(silent) + "\n" + hint
	default:
		hint = "no namespace here allows it\n" + hint
	}
	return notice.WithHint(notice.WithMessage(err, err.Error()), hint)
}

// someOf joins at most six names.
func someOf(names []string) string {
	const most = 6
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// start waits until the pod runs.
func (p *nodePod) start(ctx context.Context) (remote.Target, error) {
	begin := time.Now()
	found, err := p.awaitCalmly(ctx, pod.Request{
		Namespace: p.pod.Namespace, Target: pod.Target{Kind: "pod", Name: p.pod.Name}, Container: node.Container,
	}, p.plan.exec.running)
	if err != nil {
		return remote.Target{}, outcome.ContextCause(ctx, p.explainStart(err))
	}
	p.notice.Detail("pod %s runs on node %s after %v", p.pod.Name, p.options.Node, time.Since(begin).Round(10*time.Millisecond))
	return remote.Target{Namespace: p.pod.Namespace, Pod: p.pod.Name, Container: node.Container, Found: found}, nil
}

// explainStart adds a hint if the node cannot get the image, or the image has
// no sh.
func (p *nodePod) explainStart(err error) error {
	if !pod.ImageUnusable(err) {
		return err
	}
	return notice.WithHint(notice.WithMessage(err, err.Error()), "--image, or the setting node-image, names an image that the node can get, with sh and nsenter in it")
}

// remove deletes the pod, unless it is left running or other clients are
// attached.
func (p *nodePod) remove() {
	defer p.release()
	ctx, cancel := p.cleanup.Context()
	defer cancel()
	if v := p.here.Load(); v != nil && !p.ended.Load() && v.othersStay(ctx) || p.keep.Load() {
		return
	}
	if err := p.client.Remove(ctx, p.pod); err != nil {
		if errors.Is(err, ctx.Err()) {
			err = errUnansweredDelete
		}
		p.notice.WarnAlways("pod %s in namespace %s could not be deleted: %s; the pod ends by itself %s after the last heartbeat, and at %s at the latest",
			p.pod.Name, p.pod.Namespace, err, p.options.HeartbeatTimeout, p.pod.CreationTimestamp.Add(p.options.TTL).Format(time.TimeOnly))
		p.notice.Hint("kubectl delete pod %s -n %s", p.pod.Name, p.pod.Namespace)
		return
	}
	p.notice.Detail("pod %s was deleted", p.pod.Name)
}

// errUnansweredDelete means that a pod was not deleted in time.
var errUnansweredDelete = errors.New("the server did not answer")

// one runs the plan on a single node.
func (s *nodeShells) one(ctx context.Context) (err error) {
	start := time.Now()
	status, err := s.plan.exec.script.openStatus()
	if err != nil {
		return err
	}
	var j *remote.Command
	defer func() {
		if unsaid := statusOf(j, start, err).Write(status); unsaid != nil {
			s.notice.WarnAlways("the status could not be written: %s", unsaid)
		}
	}()
	ctx, cancel := s.plan.exec.script.limited(ctx)
	defer cancel()
	if err := s.openInput(); err != nil {
		return err
	}
	s.sweep(ctx)
	defer s.sweeps.Wait()
	p, at, err := s.open(ctx, s.notice, s.plan.node)
	if p != nil {
		defer p.remove()
	}
	if err != nil {
		return outcome.ContextCause(ctx, err)
	}
	switch {
	case s.plan.detach:
		p.keep.Store(true)
		s.notice.NoteAlways("%s", p.leftRunning())
		return nil
	case s.plan.interactive() && !p.options.Windows:
		j, err = p.attend(ctx, at, false)
		return err
	}
	j, err = p.run(ctx, s.app, at)
	return err
}

// openInput opens the file that is the command's input, if there is one.
func (s *nodeShells) openInput() error {
	if s.plan.exec.script.stdinFile == "" {
		return nil
	}
	file, err := os.Open(s.plan.exec.script.stdinFile) //nolint:gosec // the user named the file
	if err != nil {
		return fmt.Errorf("--stdin-file: %w", err)
	}
	s.In = file // open until the program ends
	return nil
}

// run runs the plan's command in the pod beside its main process.
func (p *nodePod) run(ctx context.Context, a *app, at remote.Target) (*remote.Command, error) {
	plan := *p.plan.exec
	if len(plan.command) == 0 {
		why := "--no-log"
		if p.options.Windows {
			why = "Windows node"
		}
		p.notice.Note("kshell cannot attach to this shell again if the connection breaks (%s)", why)
	}
	plan.command, plan.target = p.options.Command(plan.command), pod.Target{Kind: "pod", Name: p.pod.Name}
	command, err := remote.New(a.env(), p.cluster, at, plan.options())
	if err != nil {
		return nil, err
	}
	defer alive(ctx, command, p.options.HeartbeatTimeout, node.HeartbeatCommand(p.options.Windows, ""))()
	return command, runCommand(ctx, command, &plan.live)
}

// leftRunning returns the message that names the pod and the command to attach
// to it.
func (p *nodePod) leftRunning() string {
	return fmt.Sprintf("pod %s is left running on node %s, until %s: %s --attach -n %s %s comes back to it", p.pod.Name, p.pod.Spec.NodeName,
		p.pod.CreationTimestamp.Add(p.options.TTL).Local().Format(time.DateTime), p.plan.exec.path, p.pod.Namespace, p.pod.Name)
}
