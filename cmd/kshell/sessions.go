package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"kshell/internal/apiclient"
	"kshell/internal/fanout"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/remote"
	"kshell/internal/resume"
	"kshell/internal/script"
	"kshell/internal/stream"
)

// sessionsFlags are the flags of sessions.
type sessionsFlags struct {
	container, selector, end, output string
	wide                             bool
	resumeDirs                       []string
	parallel                         int
}

// endFlag is the name of a flag of sessions.
const endFlag = "end"

// newSessions returns the command sessions.
func newSessions(a *app) *cobra.Command {
	var f sessionsFlags
	cmd := &cobra.Command{
		Use:   "sessions [POD | TYPE/NAME | -l LABEL=VALUE] [-c CONTAINER]",
		Short: "List the sessions of exec --resume, or end one",
		Long: `List the sessions of exec --resume in the containers of a pod, of the pods of TYPE/NAME or of -l, or of all
pods of the namespace. A session continues while kshell is not connected: attach to it with exec --attach POD ID.

For that, kshell runs a command in each container that has sh. It also removes the directories of session agents that do
not run any more.

With --end, the session is ended: its processes get HUP, TERM after a second, and KILL after four more.`,
		Example: `  kshell sessions                 in all pods of the namespace
  kshell sessions web             in the containers of pod web
  kshell sessions deploy/web      in all pods of deployment web
  kshell sessions web --end ID    end a session`,
		Annotations: map[string]string{commonFlags: `
Flags:
  -c, --container NAME     only this container (default: all that are running)
  -l, --selector LABELS    pods with these labels, such as app=web
  -o, --output FORMAT      wide, json or name
      --end ID             end this session
` + connectionGroup},
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := planSessions(cmd, f, args)
			if err != nil {
				return err
			}
			return a.sessions(cmd.Context(), plan)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.container, "container", "c", "", "name of the container; default: all containers that are running")
	flags.StringVarP(&f.selector, "selector", "l", "", "select pods by labels, as in kubectl: app=web,tier!=db")
	flags.BoolVar(&f.wide, formatWide, false,
		"also print the directory of the session agent, and all arguments of the command")
	flags.StringVarP(&f.output, outputFlag, "o", "", "output format: wide, json or name")
	flags.StringVar(&f.end, endFlag, "", "end the session with this ID, or the only one whose ID begins with it")
	flags.IntVar(&f.parallel, "max-parallel", defaultParallel, "how many containers are asked at the same time")
	flags.StringSliceVar(&f.resumeDirs, resumeDirFlag, nil,
		"directories of the container that were given to exec as --resume-dir, separated by commas")
	a.addConfirmFlag(flags)
	a.completeSessions(cmd)
	return cmd
}

// sessionsPlan is a parsed command line of sessions.
type sessionsPlan struct {
	target              pod.Target // the zero value: all pods of the namespace, or those of selector
	selector, container string
	dirs                []string
	parallel            int
	end                 string // the ID of the session to end, or its beginning; "" means to list
	format              string // "" or one of listFormats
}

// planSessions returns the plan of a command line.
func planSessions(cmd *cobra.Command, f sessionsFlags, args []string) (*sessionsPlan, error) {
	p := &sessionsPlan{
		selector: strings.TrimSpace(f.selector), container: f.container, dirs: f.resumeDirs, parallel: f.parallel,
		end: f.end, format: f.output,
	}
	if f.wide {
		p.format = cmp.Or(p.format, formatWide)
	}
	switch {
	case len(args) > 1:
		return nil, usage(cmd, "more than one pod is named: "+strconv.Quote(args[0])+" and "+strconv.Quote(args[1]))
	case len(args) == 1 && p.selector != "":
		return nil, usage(cmd, "-l and "+args[0]+" cannot be used together")
	case f.parallel < 1:
		return nil, usage(cmd, "--max-parallel must be at least 1, got "+strconv.Itoa(f.parallel))
	case changed(cmd, endFlag) && f.end == "":
		return nil, usage(cmd, "--end must not be empty")
	case changed(cmd, endFlag) && p.format != "":
		return nil, usage(cmd, "--end and an output format cannot be used together")
	case f.wide && p.format != formatWide:
		return nil, usage(cmd, "--wide and -o "+p.format+" cannot be used together")
	}
	if err := cmp.Or(checkListFormat(p.format), checkResumeDirs(p.dirs)); err != nil {
		return nil, err
	}
	if len(args) == 0 {
		return p, nil
	}
	var err error
	p.target, err = pod.ParseTarget(args[0])
	return p, err
}

// foundSession is a session in a container.
type foundSession struct {
	command *remote.Command // for the container
	resume.Info
}

// sessions executes a plan.
func (a *app) sessions(ctx context.Context, p *sessionsPlan) error {
	kube, err := a.connect(ctx, connectOptions{needsReason: true}) // it runs a command in each container
	if err != nil {
		return outcome.ContextCause(ctx, err)
	}
	if p.dirs, err = a.resumeDirs(p.dirs); err != nil {
		return err
	}
	cluster, err := remote.NewCluster(a.env(), kube.Config, false)
	if err != nil {
		return err
	}
	if p.end != "" {
		if err := a.confirmContext(ctx, kube, p.endAction(kube.Namespace)); err != nil {
			return err
		}
	}
	found, failed, err := a.findSessions(ctx, cluster, kube.Namespace, p)
	if err != nil {
		return outcome.ContextCause(ctx, err)
	}
	for _, err := range failed {
		a.notice.WarnAlways("%s", err)
	}
	if p.end != "" {
		return outcome.ContextCause(ctx, a.endSession(ctx, p, found))
	}
	if len(found) > 0 || len(failed) == 0 {
		a.printSessions(kube.Namespace, p, found, time.Now())
	}
	if len(failed) > 0 {
		return &outcome.ReportedError{ExitCode: outcome.ExitFailed, Err: failed[0]}
	}
	return nil
}

// findSessions returns the sessions of the containers of the plan, sorted by
// pod and container. failed has an error for each container that could not be
// asked.
func (a *app) findSessions(
	ctx context.Context, cluster *remote.Cluster, namespace string, p *sessionsPlan,
) (found []foundSession, failed []error, err error) {
	targets, err := a.sessionTargets(ctx, cluster, pod.Request{
		Namespace: namespace, Target: p.target, Selector: p.selector, Container: p.container,
	})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var asked atomic.Int64
	state := func() string { return fmt.Sprintf("asked %d of %d containers", asked.Load(), len(targets)) }
	progress := a.notice.ProgressAfter(notice.ProgressDelay, state())
	defer progress.End()
	inEach, errs := make([][]foundSession, len(targets)), make([]error, len(targets))
	fanout.Each(len(targets), p.parallel, cancel, func(i int) {
		inEach[i], errs[i] = a.sessionsIn(ctx, cluster, targets[i], p.dirs)
		asked.Add(1)
		progress.Update(state())
	})
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	failed = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	return withoutCopies(slices.Concat(inEach...)), failed, nil
}

// sessionTargets returns the running containers that match the request, sorted
// by pod. Without a container in the request, they are all running containers
// of each pod.
func (a *app) sessionTargets(ctx context.Context, c *remote.Cluster, r pod.Request) ([]remote.Target, error) {
	running, skipped, err := c.Pods().List(ctx, r)
	var forbidden *pod.GetForbiddenError
	switch {
	case errors.As(err, &forbidden):
		a.notice.Detail("pod %s was not checked: %s", r.Target.Name, forbidden)
		return []remote.Target{{Namespace: r.Namespace, Pod: r.Target.Name, Container: r.Container}}, nil
	case err != nil:
		return nil, remote.ExplainForbidden(ctx, a.env(), c, err)
	}
	pods := make([]*corev1.Pod, 0, len(running)+len(skipped))
	for _, f := range running {
		pods = append(pods, f.Pod)
	}
	for _, s := range skipped {
		pods = append(pods, s.Pod)
	}
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	var targets []remote.Target
	for _, p := range pods {
		if pod.OS(p) == corev1.Windows {
			continue
		}
		for _, name := range runningContainers(p) {
			if r.Container == "" || r.Container == name {
				targets = append(targets, remote.Target{
					Namespace: r.Namespace, Pod: p.Name, Container: name, Found: &pod.Found{Pod: p, Container: name},
				})
			}
		}
	}
	if len(targets) == 0 && len(skipped) > 0 {
		return nil, skipped[0].Err
	}
	return targets, nil
}

// runningContainers returns the names of the containers of p that are running.
func runningContainers(p *corev1.Pod) []string {
	var names []string
	s := &p.Status
	for _, c := range slices.Concat(s.ContainerStatuses, s.InitContainerStatuses, s.EphemeralContainerStatuses) {
		if c.State.Running != nil {
			names = append(names, c.Name)
		}
	}
	return names
}

// sessionsIn returns the sessions in a container. A container without sh has
// none.
func (a *app) sessionsIn(
	ctx context.Context, c *remote.Cluster, t remote.Target, dirs []string,
) ([]foundSession, error) {
	limit := cmp.Or(c.Config().Timeout, apiclient.DefaultTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %v", limit))
	defer cancel()
	command, err := remote.New(a.env(), c, t, remote.Options{Program: a.name + " exec", Scripts: true, ResumeDirs: dirs})
	if err != nil {
		return nil, err
	}
	infos, err := command.Sessions(ctx)
	var refused *stream.RemoteError
	switch {
	case errors.As(err, &refused) && refused.Start == stream.StartNotFound:
		a.notice.Detail("%s has no sh, and therefore no sessions", describeTarget(t))
		return nil, nil
	case err != nil:
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("the sessions of %s are not known: %w", describeTarget(t), err)
	}
	var found []foundSession
	for _, info := range infos {
		found = append(found, foundSession{command: command, Info: info})
	}
	slices.SortFunc(found, func(a, b foundSession) int {
		return cmp.Or(cmp.Compare(a.Started, b.Started), strings.Compare(a.Session, b.Session))
	})
	return found, nil
}

// describeTarget returns "pod NAME, container NAME".
func describeTarget(t remote.Target) string {
	if t.Container == "" {
		return "pod " + t.Pod
	}
	return "pod " + t.Pod + ", container " + t.Container
}

// withoutCopies returns the sessions without those that are in the list twice.
// Containers that share a directory, also in different pods, list each other's
// sessions: such a session is kept where it runs, if that container was asked.
// If it is not known in which container of a pod the session runs, it is kept in
// the first.
func withoutCopies(found []foundSession) []foundSession {
	home := map[string]bool{} // the IDs of the sessions that are listed where they run
	for _, s := range found {
		if s.SameMounts {
			home[s.Session] = true
		}
	}
	type key struct{ pod, id string }
	kept := map[key]bool{}
	return slices.DeleteFunc(found, func(s foundSession) bool {
		k := key{s.command.Target().Pod, s.Session}
		if kept[k] || !s.SameMounts && home[s.Session] {
			return true
		}
		kept[k] = true
		return false
	})
}

// endSession ends the session of the plan, which must be one of found.
func (a *app) endSession(ctx context.Context, p *sessionsPlan, found []foundSession) error {
	s, err := a.chooseSession(found, p.end)
	if err != nil {
		return err
	}
	if err := s.command.EndSession(ctx, s.Info); err != nil {
		return fmt.Errorf("session %s could not be ended: %w", s.Session, err)
	}
	result := "ended"
	if !s.waitEnded(ctx) {
		result = "is being ended"
	}
	_, err = fmt.Fprintf(a.printed, "session %s in %s %s\n",
		notice.Clean(s.Session), notice.Clean(describeTarget(s.command.Target())), result)
	return err
}

const (
	endLimit = 10 * time.Second       // the agent sends KILL after 5 s
	endPoll  = 300 * time.Millisecond // between two lists
)

// waitEnded waits until the session has ended, up to endLimit. It reports
// whether it has.
func (s *foundSession) waitEnded(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	for {
		infos, err := s.command.Sessions(ctx)
		if err == nil && !slices.ContainsFunc(infos, func(i resume.Info) bool { return i.Session == s.Session && !i.Ended }) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(endPoll):
		}
	}
}

// chooseSession returns the session with an ID, or the only one whose ID begins
// with it.
func (a *app) chooseSession(found []foundSession, id string) (*foundSession, error) {
	var matches []*foundSession
	for i := range found {
		if found[i].Session == id {
			return &found[i], nil
		}
		if strings.HasPrefix(found[i].Session, id) {
			matches = append(matches, &found[i])
		}
	}
	switch len(matches) {
	case 0:
		return nil, notice.WithHint(fmt.Errorf("session %s does not exist: it may have ended", id),
			"`"+a.name+" sessions` lists the sessions of all pods of the namespace")
	case 1:
		return matches[0], nil
	}
	return nil, notice.WithHint(
		fmt.Errorf("the IDs of %d sessions begin with %s", len(matches), id), "type the whole ID")
}

// sessionRow is a session in the output. Its JSON form is a line of -o json.
type sessionRow struct {
	ID        string `json:"id"`
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	Container string `json:"container"`
	// OtherContainer means that the session runs in another container of the
	// pod, which shares the directory of the agent.
	OtherContainer bool      `json:"otherContainer,omitempty"`
	Started        time.Time `json:"started"`
	Status         string    `json:"status"` // attached, detached or ended
	Clients        int       `json:"clients"`
	Terminal       bool      `json:"terminal"`
	PID            uint32    `json:"pid"`       // of the command, in the container
	Command        []string  `json:"command"`   // empty: a shell
	Directory      string    `json:"directory"` // of the agent
	Agent          string    `json:"agent"`     // the build ID of the agent
}

func newSessionRow(s *foundSession) sessionRow {
	t := s.command.Target()
	row := sessionRow{
		ID: s.Session, Namespace: t.Namespace, Pod: t.Pod, Container: t.Container, OtherContainer: !s.SameMounts,
		Started: time.Unix(int64(min(s.Started, 1<<40)), 0).UTC(), Status: "detached", Clients: int(s.Clients),
		Terminal: s.Terminal, PID: s.PID, Command: append([]string{}, s.Command...), Directory: s.Dir, Agent: s.Build,
	}
	switch {
	case s.Ended:
		row.Status = "ended"
	case s.Clients > 0:
		row.Status = "attached"
	}
	return row
}

// printSessions prints the sessions to stdout. a.printed keeps a write error.
func (a *app) printSessions(namespace string, p *sessionsPlan, found []foundSession, now time.Time) {
	table := [][]string{{"ID", "POD", "CONTAINER", "AGE", "STATUS", "COMMAND"}}
	if p.format == formatWide {
		table[0] = slices.Insert(table[0], 5, "DIRECTORY")
	}
	for i := range found {
		row := newSessionRow(&found[i])
		switch p.format {
		case formatName:
			_, _ = fmt.Fprintln(a.printed, notice.Clean(row.ID))
		case formatJSON:
			_, _ = a.printed.Write(notice.JSON(row))
		default:
			table = append(table, row.cells(p.format == formatWide, now))
		}
	}
	if len(found) == 0 {
		a.notice.Note("there are no sessions%s", p.where(namespace))
		return
	}
	if p.format == "" || p.format == formatWide {
		a.printTable(table)
	}
}

// where returns the pods of the plan for the end of a sentence, such as " in
// pod/web in namespace default".
func (p *sessionsPlan) where(namespace string) string {
	if p.target.Name != "" {
		return " in " + p.target.String() + " in namespace " + namespace
	}
	return " in namespace " + namespace
}

// program returns the first word of the command.
func (r *sessionRow) program() string {
	if len(r.Command) == 0 {
		return "-"
	}
	return r.Command[0]
}

// age returns the time since the session was started.
func (r *sessionRow) age(now time.Time) string {
	return duration.HumanDuration(max(0, now.Sub(r.Started)))
}

// cells returns the row of the table.
func (r *sessionRow) cells(wide bool, now time.Time) []string {
	container, command, status := cmp.Or(r.Container, "-"), r.program(), r.Status
	if r.OtherContainer {
		container = "(not " + container + ")"
	}
	if r.Clients > 1 && status == "attached" {
		status = fmt.Sprintf("attached (%d)", r.Clients)
	}
	if len(r.Command) > 0 && wide {
		command = script.QuoteAll(r.Command)
	}
	cells := []string{r.ID, r.Pod, container, r.age(now), status}
	if wide {
		cells = append(cells, r.Directory)
	}
	return append(cells, command)
}
