package stream

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/remotecommand"
)

// The remote-command subprotocols of the Kubernetes API server and kubelet
// (k8s.io/streaming/pkg/httpstream/wsstream, k8s.io/apiserver/pkg/util/proxy).
// The names are case sensitive.
const (
	// V5 has binary messages (channel byte, payload), ends with a Status, and
	// can close stdin.
	V5 = remotecommand.StreamProtocolV5Name
	// V4 is V5 without a way to close stdin: the remote process never sees the
	// end of its stdin.
	V4 = remotecommand.StreamProtocolV4Name
	// V4Base64 is V4 in text messages: the channel is an ASCII digit, and the
	// payload is in standard base64.
	V4Base64 = "v4.base64.channel.k8s.io"
	// Base64 is V4Base64 without a Status: a failure is a text on the error
	// channel, and success is a normal close (1000) without a text.
	Base64 = "base64.channel.k8s.io"
	// Channel is V4 without a Status. It reports success and failure like
	// Base64.
	Channel = remotecommand.StreamProtocolV1Name
)

// Protocols returns all remote-command subprotocols in the order in which they
// are offered, best first.
func Protocols() []string { return []string{V5, V4, V4Base64, Base64, Channel} }

// HalfClosing returns the elements of offer, a list of subprotocols, that can
// close the stdin of the remote process.
func HalfClosing(offer []string) []string {
	return slices.DeleteFunc(slices.Clone(offer), func(name string) bool { return !codecs[name].halfClose })
}

// WithoutHalfClose returns the elements of offer, a list of subprotocols, that
// cannot close the stdin of the remote process.
func WithoutHalfClose(offer []string) []string {
	return slices.DeleteFunc(slices.Clone(offer), func(name string) bool { return codecs[name].halfClose })
}

// channel is the first byte of a message: the stream to which the payload
// belongs.
type channel byte

const (
	chStdin  channel = remotecommand.StreamStdIn
	chStdout channel = remotecommand.StreamStdOut
	chStderr channel = remotecommand.StreamStdErr
	chError  channel = remotecommand.StreamErr
	chResize channel = remotecommand.StreamResize
	chClose  channel = remotecommand.StreamClose // V5 only: closes the stream whose channel is the next byte
)

// codec has the properties of a subprotocol.
type codec struct {
	text      bool // messages are text: an ASCII digit and base64
	halfClose bool // chClose is supported
	status    bool // the session ends with a metav1.Status in JSON on the error channel
}

var codecs = map[string]codec{
	V5:       {halfClose: true, status: true},
	V4:       {status: true},
	V4Base64: {text: true, status: true},
	Base64:   {text: true},
	Channel:  {},
}

// headroom is the number of free bytes before a payload. encode writes the
// channel there, so that it need not copy the payload into a binary message.
const headroom = 1

// encode returns the message with the payload buf[headroom:] on ch. A binary
// message is buf itself with its first byte set. A text message is built in
// scratch, which grows as needed and is returned for the next call.
func (c codec) encode(ch channel, buf, scratch []byte) (message, newScratch []byte) {
	if !c.text {
		buf[0] = byte(ch)
		return buf, scratch
	}
	scratch = append(scratch[:0], '0'+byte(ch))
	scratch = base64.StdEncoding.AppendEncode(scratch, buf[headroom:])
	return scratch, scratch
}

// decodeText returns the channel and the payload of message, a text message
// that is not empty. It decodes the payload into dst, which grows as needed.
func decodeText(message, dst []byte) (channel, []byte, error) {
	ch := channel(message[0] - '0')
	if ch > chResize {
		return 0, dst, fmt.Errorf("text message on unknown channel %q", message[0])
	}
	dst, err := base64.StdEncoding.AppendDecode(dst[:0], message[1:])
	if err != nil {
		return 0, dst, fmt.Errorf("text message on channel %d: %w", ch, err)
	}
	return ch, dst, nil
}

// resizeMessage returns headroom free bytes and the payload for chResize: a
// remotecommand.TerminalSize in JSON.
func resizeMessage(width, height uint16) []byte {
	return fmt.Appendf(make([]byte, headroom), `{"Width":%d,"Height":%d}`, width, height)
}

// statusOutcome returns the outcome of a command from the Status on the error
// channel. It returns nil if the Status is an explicit success. Otherwise, it
// returns an *ExitError or a *RemoteError.
func statusOutcome(raw []byte) error {
	var s metav1.Status
	if err := json.Unmarshal(raw, &s); err != nil {
		return &RemoteError{Message: "unreadable status: " + truncate(raw)}
	}
	switch {
	case s.Status == metav1.StatusSuccess:
		return nil
	case s.Status != metav1.StatusFailure:
		return &RemoteError{Message: "status that is neither success nor failure: " + truncate(raw)}
	case s.Reason == remotecommand.NonZeroExitCodeReason:
		if code, err := exitCode(&s); err == nil {
			return &ExitError{Code: code}
		}
	}
	return &RemoteError{Message: s.Message, Reason: string(s.Reason), Start: startFailure(s.Message)}
}

// truncate returns the first maxText bytes of text, for an error message.
func truncate(text []byte) string { return string(text[:min(len(text), maxText)]) }

func exitCode(s *metav1.Status) (int, error) {
	if s.Details != nil {
		for _, cause := range s.Details.Causes {
			if cause.Type == remotecommand.ExitCodeCauseType {
				return parseExitCode(cause.Message)
			}
		}
	}
	return 0, errors.New("no exit code among the causes")
}

func parseExitCode(digits string) (int, error) {
	code, err := strconv.Atoi(digits)
	if err == nil && code == 0 {
		err = errors.New("failure with exit code 0")
	}
	return code, err
}

// exitCodePattern finds the exit code in the texts that the older subprotocols
// send instead of a Status, such as "command terminated with non-zero exit
// code: error executing command [sh], exit code 7".
var exitCodePattern = regexp.MustCompile(`exit(?:ed with| code| status):? (\d+)\s*$`)

// textOutcome returns the outcome of a command if the subprotocol has no Status
// and the connection was closed normally. text is what the server has sent on
// the error channel.
func textOutcome(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	message := strings.TrimSpace(string(text))
	if m := exitCodePattern.FindStringSubmatch(message); m != nil {
		if code, err := parseExitCode(m[1]); err == nil {
			return &ExitError{Code: code}
		}
	}
	return &RemoteError{Message: message, Start: startFailure(message)}
}
