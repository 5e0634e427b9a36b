package sandbox

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

const (
	protocolV5       = remotecommand.StreamProtocolV5Name
	protocolV4       = remotecommand.StreamProtocolV4Name
	protocolV4Base64 = "v4.base64.channel.k8s.io"
)

// idleTimeout is how long a socket may be without messages, as on real servers.
const idleTimeout = 4 * time.Hour

// options are the query parameters of an exec or attach.
type options struct {
	attach                     bool
	stdin, stdout, stderr, tty bool
	args                       []string
	container                  string
}

// serveStream serves exec and attach. It makes the checks in the order of the
// real server.
func (s *Server) serveStream(w http.ResponseWriter, r *http.Request, c call) error {
	if r.Method == http.MethodGet {
		if err := authorizeUpgrade(c.user, c.request); err != nil {
			return err
		}
	}
	pod, err := s.pod(c.key())
	if err != nil {
		return err
	}
	o := c.options()
	if o.container, err = chooseContainer(pod, o.container); err != nil {
		return err
	}
	if pod.Spec.NodeName == "" {
		return errNotScheduled(pod.Name)
	}
	spdy := isSPDY(r)
	if !spdy && (!wsstream.IsWebSocketRequest(r) || r.Method != http.MethodGet) {
		return apierrors.NewBadRequest("Upgrade request required")
	}
	if c.fault.denies() {
		return policyDenial(pod.Name)
	}
	if spdy {
		s.streamSPDY(w, r, c, o)
	} else {
		s.stream(w, r, c, o)
	}
	return nil
}

func (c call) options() options {
	return options{
		attach:    c.subresource == "attach",
		stdin:     c.isTrue("stdin"),
		stdout:    c.isTrue("stdout"),
		stderr:    c.isTrue("stderr"),
		tty:       c.isTrue("tty"),
		args:      c.query["command"],
		container: c.query.Get("container"),
	}
}

// stream makes the checks of the kubelet, which answers in plain text, and
// upgrades to WebSocket.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, c call, o options) {
	target := s.container(c.key(), o.container)
	if o.attach && target != nil {
		o.tty = target.spec.TTY // the spec of the container decides, not the query
	}
	if o.tty {
		o.stderr = false
	}
	if !o.stdin && !o.stdout && !o.stderr {
		http.Error(w, "you must specify at least 1 of stdin, stdout, stderr", http.StatusBadRequest)
		return
	}
	offered := offeredProtocols(r.Header)
	v5 := slices.Contains(offered, protocolV5)
	var notFound error
	if target == nil || target.running() == nil || c.fault != nil && c.fault.NotRunning {
		notFound = errContainerNotFound(c, o)
		if !v5 {
			http.Error(w, notFound.Error(), http.StatusInternalServerError)
			return
		}
		notFound = fmt.Errorf("unable to upgrade connection: %w", notFound)
	}
	if c.fault != nil && c.fault.FailStart != "" {
		notFound = errors.New(c.fault.FailStart)
	}
	hw := newHijacker(s, w, r, c.fault)
	conn := wsstream.NewConn(protocols(v5, channels(o)))
	conn.SetIdleTimeout(idleTimeout)
	name, streams, err := conn.Open(hw, r)
	if err != nil {
		if hw.conn != nil {
			hw.conn.abandon()
		}
		return
	}
	record := &Session{
		Path: r.URL.Path, Query: c.query, User: c.user, Offered: offered, Subprotocol: name, Open: true,
		NotRunning: target == nil || target.running() == nil,
	}
	s.records.add(record)
	ses := &session{srv: s, options: o, record: record, conn: conn, sock: hw.conn, streams: streams, protocol: name}
	ses.serve(target, notFound)
	hw.conn.finish()
	s.records.change(func() { record.Open = false })
}

func errContainerNotFound(c call, o options) error {
	if o.attach {
		return fmt.Errorf("container %s not found in pod %s_%s", o.container, c.name, c.namespace)
	}
	return fmt.Errorf("container not found (%q)", o.container)
}

// protocols returns the subprotocols that the server accepts. If the client
// offers v5, the server accepts only v5, like an API server that translates v5
// itself.
func protocols(v5 bool, channels []wsstream.ChannelType) map[string]wsstream.ChannelProtocolConfig {
	if v5 {
		return map[string]wsstream.ChannelProtocolConfig{protocolV5: {Binary: true, Channels: channels}}
	}
	m := wsstream.NewDefaultChannelProtocols(channels)
	m[protocolV4] = wsstream.ChannelProtocolConfig{Binary: true, Channels: channels}
	m[protocolV4Base64] = wsstream.ChannelProtocolConfig{Binary: false, Channels: channels}
	return m
}

func channels(o options) []wsstream.ChannelType {
	pick := func(wanted bool, t wsstream.ChannelType) wsstream.ChannelType {
		if wanted {
			return t
		}
		return wsstream.IgnoreChannel
	}
	return []wsstream.ChannelType{
		remotecommand.StreamStdIn:  pick(o.stdin, wsstream.ReadChannel),
		remotecommand.StreamStdOut: pick(o.stdout, wsstream.WriteChannel),
		remotecommand.StreamStdErr: pick(o.stderr, wsstream.WriteChannel),
		remotecommand.StreamErr:    wsstream.WriteChannel,
		remotecommand.StreamResize: wsstream.ReadChannel,
	}
}

// chooseContainer chooses the container as the API server does: the named one,
// or the only one. The server does not consider annotations.
func chooseContainer(pod *corev1.Pod, name string) (string, error) {
	var mains, inits, ephemerals []string
	for _, c := range pod.Spec.Containers {
		mains = append(mains, c.Name)
	}
	for _, c := range pod.Spec.InitContainers {
		inits = append(inits, c.Name)
	}
	for _, c := range pod.Spec.EphemeralContainers {
		ephemerals = append(ephemerals, c.Name)
	}
	if name == "" && len(mains) == 1 {
		return mains[0], nil
	}
	if name != "" {
		if slices.Contains(slices.Concat(mains, inits, ephemerals), name) {
			return name, nil
		}
		return "", apierrors.NewBadRequest(fmt.Sprintf("container %s is not valid for pod %s", name, pod.Name))
	}
	var msg strings.Builder
	fmt.Fprintf(&msg, "a container name must be specified for pod %s", pod.Name)
	if len(mains) > 0 {
		fmt.Fprintf(&msg, ", choose one of: %v", mains)
	}
	if len(inits) > 0 {
		fmt.Fprintf(&msg, " or one of the init containers: %v", inits)
	}
	if len(ephemerals) > 0 {
		fmt.Fprintf(&msg, " or one of the ephemeral containers: %v", ephemerals)
	}
	return "", apierrors.NewBadRequest(msg.String())
}
