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

// httpSocket receives JSON messages from the body of an HTTP answer. It
// implements socket, but cannot send: Write and Ping return
// errors.ErrUnsupported.
type httpSocket struct {
	body    io.Closer
	decoder *apiclient.Decoder
	cancel  func() // ends the request
}

func newHTTPSocket(body io.ReadCloser, cancel func()) *httpSocket {
	return &httpSocket{body: body, decoder: apiclient.NewDecoder(body, "the server's message"), cancel: cancel}
}

// errStreamEnded means that the server has ended an HTTP answer after a whole
// message.
var errStreamEnded = errors.New("ended by the server")

// Reader returns a reader of the next message. The context is not used: CloseNow
// ends a blocked call.
func (s *httpSocket) Reader(context.Context) (websocket.MessageType, io.Reader, error) {
	var message json.RawMessage
	err := s.decoder.Decode(&message)
	if err == io.EOF { //nolint:errorlint // io.EOF itself is the end of the answer; a wrapped one means a lost connection
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
