package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/coder/websocket"

	"kshell/internal/apiclient"
)

// httpSocket is a socket that receives JSON messages from the body of an HTTP
// answer. It cannot send: Write and Ping return errors.ErrUnsupported.
type httpSocket struct {
	body    io.Closer
	decoder *apiclient.Decoder
	cancel  func() // ends the request
}

func newHTTPSocket(body io.ReadCloser, cancel func()) *httpSocket {
	return &httpSocket{body: body, decoder: apiclient.NewDecoder(body, "the server's message"), cancel: cancel}
}

// errStreamEnded means that the server has ended an HTTP answer, and that the
// last message was complete.
var errStreamEnded = errors.New("ended by the server")

// Reader returns a reader of the next message. It ignores the context; CloseNow
// ends a blocked call.
func (s *httpSocket) Reader(context.Context) (websocket.MessageType, io.Reader, error) {
	var message json.RawMessage
	err := s.decoder.Decode(&message)
	if err == io.EOF { //nolint:errorlint // a wrapped io.EOF means that the connection was lost
		err = errStreamEnded
	}
	return websocket.MessageText, bytes.NewReader(message), err
}

func (*httpSocket) Write(context.Context, websocket.MessageType, []byte) error {
	return errors.ErrUnsupported
}

func (*httpSocket) Ping(context.Context) error { return errors.ErrUnsupported }

// CloseNow ends the request.
func (s *httpSocket) CloseNow() error {
	s.cancel()
	return s.body.Close()
}
