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
// (k8s.io/streaming/pkg/httpstream/wsstream, k8s.io/apiserver/pkg/util/proxy). Names are case sensitive.
const (
	// V5 carries binary messages (channel byte, payload), ends with a Status, and can close one channel: 255, channel.
	V5 = remotecommand.StreamProtocolV5Name
	// V4 is V5 without the closing of a channel: a remote stdin never sees its end.
	V4 = remotecommand.StreamProtocolV4Name
	// V4Base64 is V4 in text messages: the channel as an ASCII digit, the payload in standard base64.
	V4Base64 = "v4.base64.channel.k8s.io"
	// Base64 is V4Base64 without a Status: a failure is plain text on the error channel, success is silence.
	Base64 = "base64.channel.k8s.io"
	// Channel is V4 without a Status, as Base64.
	Channel = remotecommand.StreamProtocolV1Name
)

// Protocols returns every remote-command subprotocol, best first: the order in which they are offered.
func Protocols() []string { return []string{V5, V4, V4Base64, Base64, Channel} }

// HalfClosing returns those of the offer that can tell the remote process that its stdin has ended.
func HalfClosing(offer []string) []string {
	return slices.DeleteFunc(slices.Clone(offer), func(name string) bool { return !codecs[name].halfClose })
}

// Reporting says whether the subprotocol ends with an explicit status. Without one, success is only a polite
// silence (a normal close, 1000), and an exit code has to be read from a sentence.
func Reporting(protocol string) bool { return codecs[protocol].status }

// channel is the first byte of a message: which stream its payload belongs to.
type channel byte

const (
	chStdin  channel = 0
	chStdout channel = 1
	chStderr channel = 2
	chError  channel = 3
	chResize channel = 4
	chClose  channel = remotecommand.StreamClose // v5: the next byte names the channel that closes
)

// codec is what a subprotocol can do and how it writes its messages.
type codec struct {
	text      bool // text messages: ASCII digit and base64
	halfClose bool // knows {255, channel}
	status    bool // ends with a metav1.Status in JSON on the error channel
}

var codecs = map[string]codec{
	V5:       {halfClose: true, status: true},
	V4:       {status: true},
	V4Base64: {text: true, status: true},
	Base64:   {text: true},
	Channel:  {},
}

// headroom is the space that a caller leaves free before a payload, so that a binary message needs no copy.
const headroom = 1

// encode makes the message that carries buf[headroom:] on ch. A binary message is buf itself with its first byte set; a
// text message is built in scratch, which grows as needed and is returned for the next call.
func (c codec) encode(ch channel, buf, scratch []byte) (message, newScratch []byte) {
	if !c.text {
		buf[0] = byte(ch)
		return buf, scratch
	}
	scratch = append(scratch[:0], '0'+byte(ch))
	scratch = base64.StdEncoding.AppendEncode(scratch, buf[headroom:])
	return scratch, scratch
}

// decodeText takes a text message apart; the payload is decoded into dst, which grows as needed.
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

// resizeMessage is the payload of chResize (remotecommand.TerminalSize in JSON) behind headroom.
func resizeMessage(width, height uint16) []byte {
	return fmt.Appendf(make([]byte, headroom), `{"Width":%d,"Height":%d}`, width, height)
}

// verdict turns a Status from the error channel into what Run returns: nil only for an explicit success.
func verdict(raw []byte) error {
	var s metav1.Status
	if err := json.Unmarshal(raw, &s); err != nil {
		return &RemoteError{Message: "unreadable status: " + beginning(raw)}
	}
	switch {
	case s.Status == metav1.StatusSuccess:
		return nil
	case s.Status != metav1.StatusFailure:
		return &RemoteError{Message: "status that is neither success nor failure: " + beginning(raw)}
	case s.Reason == remotecommand.NonZeroExitCodeReason:
		if code, err := exitCause(&s); err == nil {
			return &ExitError{Code: code}
		}
	}
	return &RemoteError{Message: s.Message, Reason: string(s.Reason), Start: startFailure(s.Message)}
}

// beginning returns at most maxText bytes of a text, for use in a message.
func beginning(text []byte) string { return string(text[:min(len(text), maxText)]) }

func exitCause(s *metav1.Status) (int, error) {
	if s.Details != nil {
		for _, cause := range s.Details.Causes {
			if cause.Type == remotecommand.ExitCodeCauseType {
				return nonZero(cause.Message)
			}
		}
	}
	return 0, errors.New("no exit code among the causes")
}

func nonZero(digits string) (int, error) {
	code, err := strconv.Atoi(digits)
	if err == nil && code == 0 {
		err = errors.New("a failure with exit code 0")
	}
	return code, err
}

// exitSentence finds the code in the sentences that the older protocols have in place of a Status, for instance
// "command terminated with non-zero exit code: error executing command [sh], exit code 7".
var exitSentence = regexp.MustCompile(`exit(?:ed with| code| status):? (\d+)\s*$`)

// plainVerdict is verdict for the protocols without a Status: all that came on the error channel, read at a normal close.
func plainVerdict(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	message := strings.TrimSpace(string(text))
	if m := exitSentence.FindStringSubmatch(message); m != nil {
		if code, err := nonZero(m[1]); err == nil {
			return &ExitError{Code: code}
		}
	}
	return &RemoteError{Message: message, Start: startFailure(message)}
}
