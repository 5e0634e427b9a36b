package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"kshell/internal/apiclient"
	"kshell/internal/group"
	"kshell/internal/kubeconfig"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/stream"
	"kshell/internal/terminal"
)

// watched is a cluster whose objects are watched.
type watched struct {
	name      string // the cluster's name at the Headlamp server, or the name of the context
	namespace string
	transport *stream.Transport
}

// watch executes a plan. It returns nil only if --once or --until has ended the
// command.
func (a *app) watch(ctx context.Context, p *watchPlan) error {
	clusters, err := a.connectWatched(ctx)
	if err != nil {
		return outcome.ContextCause(ctx, err)
	}
	watching, cancelCause := context.WithCancelCause(ctx)
	cancel := func() { cancelCause(nil) }
	defer cancel()
	w := &watcher{
		plan: p, several: len(clusters) > 1, cancel: cancel,
		view:   newWatchView(p, clusters, a.watchOutput(), time.Now),
		status: newWatchStatus(a.notice, len(clusters) > 1), retry: newRetryKey(),
	}
	w.view.ignored, w.view.empty = a.env().SelectorIgnored, w.noteEmpty
	many := &stream.Many[stream.Object]{OnChange: w.change, OnEnd: w.ended}
	for _, c := range clusters {
		many.Sources = append(many.Sources, stream.Source[stream.Object]{Name: c.name, Objects: w.objects(c)})
	}
	beside := group.New(cancel)
	// In a pipeline, another program may read the terminal.
	if w.status.enter = terminal.ReportsEnter && terminal.IsTerminal(a.In) && terminal.IsTerminal(a.Out); w.status.enter {
		beside.Go(func() { w.retry.run(watching, a.In, many.TryNow) })
	}
	beside.Go(func() {
		if terminal.AwaitClosed(watching, a.Out) {
			cancelCause(&stream.OutputError{Err: syscall.EPIPE})
		}
	})
	_ = many.Run(watching) // the method ended stores the error in w.err
	cancel()
	beside.Wait()
	w.status.end()
	var output *stream.OutputError
	switch {
	case ctx.Err() != nil:
		return outcome.ContextCause(ctx, ctx.Err())
	case errors.As(context.Cause(watching), &output):
		return output
	case w.err == nil || !w.several:
		return w.err
	}
	return &outcome.ReportedError{ExitCode: outcome.ExitFailed, Err: w.err}
}

// watcher runs the watches of all clusters. stream.Many calls change and ended,
// one at a time.
type watcher struct {
	plan    *watchPlan
	several bool   // clusters
	cancel  func() // ends all watches
	status  *watchStatus
	view    *watchView
	retry   *retryKey
	err     error // of the first cluster whose watch has failed
}

// objects returns the objects to watch in a cluster.
func (w *watcher) objects(c watched) *stream.Objects[stream.Object] {
	return &stream.Objects[stream.Object]{
		Transport: c.transport, Path: w.plan.path(c.namespace), Query: w.plan.query(), Name: w.plan.name,
		Limit: w.plan.limit, Meta: stream.ObjectMeta,
		Observe: func(e stream.Event) {
			w.status.observe(c.name, e)
			if e, ok := e.(stream.Waiting); ok {
				w.retry.waiting(e.Delay)
			}
		},
		Link:      stream.LinkSettings{ConnectTimeout: connectTimeoutDefault},
		Keepalive: keepaliveDefault,
	}
}

// change is called for each change of a cluster.
func (w *watcher) change(cluster string, c stream.Change[stream.Object]) error {
	w.status.change(cluster, c)
	return w.view.change(cluster, c)
}

// ended is called when the watch of a cluster has ended.
func (w *watcher) ended(e *stream.SourceError) {
	var output *stream.OutputError
	switch {
	case errors.Is(e.Err, errListed):
	case errors.Is(e.Err, errCameTrue):
		w.cancel()
	case errors.As(e.Err, &output):
		w.err = e.Err
		w.cancel()
	default:
		w.failed(e.Source, w.plan.explain(e.Err))
	}
}

// failed is called when the watch of a cluster has failed.
func (w *watcher) failed(cluster string, err error) {
	w.err = cmp.Or(w.err, err)
	if w.several {
		w.status.failed(cluster, err)
	}
	if w.view.drop(cluster) != nil { // the objects of the other clusters are as --until requests
		w.cancel()
	}
}

// noteEmpty prints that there are no objects in a cluster.
func (w *watcher) noteEmpty(cluster string) {
	p := w.plan
	text := "there are no " + p.kind.Resource
	switch {
	case p.name != "":
		text = fmt.Sprintf("there is no %s %s", p.kind.Name, strconv.Quote(p.name))
	case p.labels != nil || p.fields != "":
		text += " that match"
	}
	if p.until != untilDeleted && !p.once {
		text += " yet"
	}
	w.status.printer(cluster).Note("%s", text)
}

// explain adds a hint to the error with which a watch has ended.
func (p *watchPlan) explain(err error) error {
	var refused *stream.HandshakeError
	switch {
	case notice.HintOf(err) != "":
		return err
	case !errors.As(err, &refused):
		return err
	case refused.StatusCode == http.StatusNotFound && refused.Status != nil:
		return notice.WithHint(err, fmt.Sprintf("`kubectl api-resources` lists the types that the server has; "+
			"the path was %s", p.path("NAMESPACE")))
	case refused.Refusal() == stream.RefusalNoRight:
		return notice.WithHint(err, fmt.Sprintf("kshell watch needs the permissions to list and watch %s", p.kind.Resource))
	case refused.Status == nil:
		return notice.WithHint(err, apiclient.AnswerHint(refused.StatusCode, false, refused.Text))
	}
	return notice.WithHint(err, apiclient.AnswerHint(refused.StatusCode, true, refused.Status.Message))
}

// connectWatched returns the clusters to watch: the one that the flags select,
// or one for each --context, or for each name in --headlamp-cluster.
func (a *app) connectWatched(ctx context.Context) ([]watched, error) {
	contexts, names := a.contexts.unique(), splitNames(a.headlamp.cluster)
	switch {
	case len(contexts) > 1 && len(names) > 1:
		return nil, outcome.NewUsageError("several --context and several --"+clusterFlag+" cannot be used together",
			"omit one of them")
	case len(contexts) > 1:
		return a.connectEach(ctx, &a.kube.Context, contexts)
	case len(names) > 1:
		return a.connectEach(ctx, &a.headlamp.cluster, names)
	}
	c, err := a.connectOne(ctx)
	return []watched{c}, err
}

// splitNames returns the names in a list that commas separate, without
// duplicates and empty ones.
func splitNames(list string) []string {
	var names []string
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// connectEach returns a cluster for each value of a flag. Afterwards, the flag
// is empty: hints repeat the flag, and any single value could be wrong.
func (a *app) connectEach(ctx context.Context, flag *string, values []string) ([]watched, error) {
	var clusters []watched
	for _, value := range values {
		*flag = value
		c, err := a.connectOne(ctx)
		if err != nil {
			return nil, err
		}
		c.name = value
		clusters = append(clusters, c)
	}
	*flag = ""
	return clusters, nil
}

// connectOne returns the cluster that the flags select.
func (a *app) connectOne(ctx context.Context) (watched, error) {
	conn, err := a.connect(ctx, connectOptions{})
	if err != nil {
		return watched{}, err
	}
	transport, err := stream.NewTransport(conn.Config, true, a.notice.Detail)
	if err != nil {
		return watched{}, err
	}
	name := cmp.Or(a.headlampCluster, clusterName(conn))
	return watched{name: name, namespace: conn.Namespace, transport: transport}, nil
}

// clusterName returns the name of a connection's context, or the address of the
// server if it has none.
func clusterName(conn *kubeconfig.Connection) string {
	return cmp.Or(conn.Context, serverOf(conn.Config))
}

// watchOutput returns stdout. On a terminal, it keeps the lines and the status
// line apart.
func (a *app) watchOutput() io.Writer {
	if !terminal.IsTerminal(a.Out) {
		return a.printed
	}
	return besideProgress{a.printed, a.notice}
}

// besideProgress writes whole lines to a terminal that also shows the line of a
// notice.Progress.
type besideProgress struct {
	w      io.Writer
	notice *notice.Printer
}

// Write implements io.Writer.
func (b besideProgress) Write(p []byte) (n int, err error) {
	b.notice.WithoutProgress(func() { n, err = b.w.Write(p) })
	return n, err
}
