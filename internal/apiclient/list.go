package apiclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
)

// PageItems is the number of objects per page.
const PageItems = 500

// Limits of a whole list.
const (
	MaxPages = 100
	MaxKept  = 32 << 20 // bytes, as estimated by Lister.Size
)

// Lister lists the objects of one resource, page by page.
type Lister[T any] struct {
	// Noun names the objects in errors: "pods".
	Noun string
	// Request returns a request for the list, without the parameters limit and
	// continue. It is called for each page.
	Request func() *rest.Request
	// Keep is called for each object that is read, and reports whether to keep
	// it. It may remove fields of the object that are not used. If Keep is nil,
	// all objects are kept.
	Keep func(*T) bool
	// Size estimates the memory that an object takes, in bytes.
	Size func(*T) int
}

// List reads all pages, one object at a time. version is the resourceVersion of
// the last page, from which a watch can start. Errors are those of client-go,
// *TimeoutError, *TooLargeError, *NotListError, and io.ErrUnexpectedEOF
// (wrapped) for an incomplete response.
func (l Lister[T]) List(ctx context.Context) (items []T, version string, err error) {
	limit, kept, next := PageItems, 0, ""
	for range MaxPages {
		before := len(items)
		head, err := l.page(ctx, limit, next, func(item *T) error {
			if l.Keep != nil && !l.Keep(item) {
				return nil
			}
			if kept += l.Size(item); kept > MaxKept {
				return &TooLargeError{What: "the list of " + l.Noun, Limit: MaxKept}
			}
			items = append(items, *item)
			return nil
		})
		switch {
		case err == nil && head.Metadata.Continue == "":
			return items, head.Metadata.ResourceVersion, nil
		case err == nil:
			next = head.Metadata.Continue
		case next != "" && before == len(items) && IsExpired(err):
			// The continue token has expired: read the whole list at once.
			items, limit, kept, next = nil, 0, 0, ""
		default:
			return nil, "", err
		}
	}
	return nil, "", &TooLargeError{What: fmt.Sprintf("the list of %s has more than %d pages", l.Noun, MaxPages)}
}

// IsExpired reports whether err is a 410: the server no longer has the
// requested resourceVersion, or the rest of a list.
func IsExpired(err error) bool { return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) }

// listHead is a list without its items.
type listHead struct {
	Kind     string
	Metadata struct{ Continue, ResourceVersion string }
}

func (l Lister[T]) page(ctx context.Context, limit int, next string, add func(*T) error) (*listHead, error) {
	r := l.Request().SetHeader("Accept", "application/json")
	if limit > 0 {
		r = r.Param("limit", strconv.Itoa(limit))
	}
	if next != "" {
		r = r.Param("continue", next)
	}
	answer, err := r.Stream(PageContext(ctx))
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	d := NewDecoder(answer, fmt.Sprintf("an object in the list of %s", l.Noun))
	h, err := decodeList(d, add)
	var syntax *json.SyntaxError
	var wrongType *json.UnmarshalTypeError
	switch {
	case err == nil && !strings.HasSuffix(h.Kind, "List"):
		return nil, &NotListError{errors.New("its kind is " + strconv.Quote(h.Kind))}
	case LimitError(err) != nil:
		var large *TooLargeError
		if errors.As(err, &large) && large.Limit == MaxPage {
			return nil, &TooLargeError{What: "a page of the list of " + l.Noun, Limit: MaxPage}
		}
		return nil, LimitError(err)
	case errors.As(err, &syntax), errors.As(err, &wrongType):
		return nil, &NotListError{err}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("the list of %s was cut off: %w", l.Noun, io.ErrUnexpectedEOF)
	}
	return h, err
}

func decodeList[T any](d *Decoder, add func(*T) error) (*listHead, error) {
	h := &listHead{}
	if err := d.delim('{'); err != nil {
		return nil, err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		switch key {
		case "kind":
			err = d.Decode(&h.Kind)
		case "metadata":
			err = d.Decode(&h.Metadata)
		case "items":
			err = decodeItems(d, add)
		default:
			err = d.Decode(&json.RawMessage{})
		}
		if err != nil {
			return nil, err
		}
	}
	return h, d.delim('}')
}

func decodeItems[T any](d *Decoder, add func(*T) error) error {
	switch first, err := d.Token(); {
	case err != nil:
		return err
	case first == nil: // "items": null
		return nil
	case first != json.Delim('['):
		return &NotListError{errors.New("its items are not an array")}
	}
	for d.More() {
		var item T
		if err := d.Decode(&item); err != nil {
			return err
		}
		if err := add(&item); err != nil {
			return err
		}
	}
	return d.delim(']')
}

// NotListError means that a response is not a list of objects.
type NotListError struct{ Err error }

func (e *NotListError) Error() string {
	return "the server's answer is not a list of objects: " + e.Err.Error()
}

// Unwrap returns what is wrong with the response.
func (e *NotListError) Unwrap() error { return e.Err }

// Decoder is a json.Decoder that rejects values of more than MaxObject bytes.
// It decodes the events of a watch, or the objects of a list, one at a time.
type Decoder struct {
	*json.Decoder
	in *valueReader
}

// NewDecoder returns a decoder of r. The parameter what is the name of a value
// in a *TooLargeError: "an event".
func NewDecoder(r io.Reader, what string) *Decoder {
	in := &valueReader{r: r, what: what}
	return &Decoder{json.NewDecoder(in), in}
}

// Decode reads the next value. If the value is larger than MaxObject bytes, the
// error is a *TooLargeError.
func (d *Decoder) Decode(v any) error {
	d.in.end = d.InputOffset() + MaxObject
	return d.Decoder.Decode(v)
}

// Token reads the next token, of at most MaxObject bytes.
func (d *Decoder) Token() (json.Token, error) {
	d.in.end = d.InputOffset() + MaxObject
	return d.Decoder.Token()
}

// More reports whether another element follows.
func (d *Decoder) More() bool {
	d.in.end = d.InputOffset() + MaxObject
	return d.Decoder.More()
}

func (d *Decoder) delim(wanted json.Delim) error {
	switch t, err := d.Token(); {
	case err != nil:
		return err
	case t != wanted:
		return &NotListError{fmt.Errorf("found %q, want %q", fmt.Sprint(t), wanted)}
	}
	return nil
}

// valueReader is a reader of r that fails at the offset in the field end, which
// is MaxObject bytes after the start of the current value.
type valueReader struct {
	r         io.Reader
	what      string
	read, end int64 // offsets in bytes
}

// Read implements io.Reader.
func (v *valueReader) Read(p []byte) (int, error) {
	left := v.end - v.read
	if left <= 0 {
		return 0, &TooLargeError{What: v.what, Limit: MaxObject}
	}
	n, err := v.r.Read(p[:min(int64(len(p)), left)])
	v.read += int64(n)
	return n, err
}
