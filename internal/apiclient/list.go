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

// PageItems is how many objects are asked for at a time.
const PageItems = 500

// The bounds of a whole list.
const (
	MaxPages = 100
	MaxKept  = 32 << 20 // bytes, as Lister.Size has them
)

// Lister reads a list.
type Lister[T any] struct {
	// What names the objects in errors: "pods".
	What string
	// Request prepares the request, but for the limit. It is called for each page.
	Request func() *rest.Request
	// Keep is called for each object as it is read. It reports whether to keep the
	// object, from which it may remove fields that are not used. Nil keeps all.
	Keep func(*T) bool
	// Size estimates how many bytes of memory an object takes.
	Size func(*T) int
}

// List reads all pages, an object at a time. version is that of the last page, from
// which a watch goes on. Errors are those of client-go, *TooLargeError, and
// *NotListError for an answer that is no list.
func (l Lister[T]) List(ctx context.Context) (items []T, version string, err error) {
	limit, kept, next := PageItems, 0, ""
	for range MaxPages {
		before := len(items)
		head, err := l.page(ctx, limit, next, func(item *T) error {
			if l.Keep != nil && !l.Keep(item) {
				return nil
			}
			if kept += l.Size(item); kept > MaxKept {
				return &TooLargeError{What: "the list of " + l.What, Limit: MaxKept}
			}
			items = append(items, *item)
			return nil
		})
		switch {
		case err == nil && head.Metadata.Continue == "":
			return items, head.Metadata.ResourceVersion, nil
		case err == nil:
			next = head.Metadata.Continue
		case next != "" && before == len(items) && Expired(err): // too slow for the server: now all in one answer
			items, limit, kept, next = nil, 0, 0, ""
		default:
			return nil, "", err
		}
	}
	return nil, "", &TooLargeError{What: fmt.Sprintf("the list of %s has more than %d pages", l.What, MaxPages)}
}

// Expired reports whether err says that the server has forgotten a version or the
// rest of a list (410).
func Expired(err error) bool { return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) }

// head is a list without its items.
type head struct {
	Kind     string
	Metadata struct{ Continue, ResourceVersion string }
}

func (l Lister[T]) page(ctx context.Context, limit int, next string, add func(*T) error) (*head, error) {
	r := l.Request().SetHeader("Accept", "application/json")
	if limit > 0 {
		r = r.Param("limit", strconv.Itoa(limit))
	}
	if next != "" {
		r = r.Param("continue", next)
	}
	answer, err := r.Stream(Page(ctx))
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	d := NewDecoder(answer, fmt.Sprintf("an object in the list of %s", l.What))
	h, err := decodeList(d, add)
	var syntax *json.SyntaxError
	var unfit *json.UnmarshalTypeError
	switch {
	case err == nil && !strings.HasSuffix(h.Kind, "List"):
		return nil, &NotListError{errors.New("its kind is " + strconv.Quote(h.Kind))}
	case Plain(err) != nil:
		var large *TooLargeError
		if errors.As(err, &large) && large.Limit == MaxPage {
			return nil, &TooLargeError{What: "a page of the list of " + l.What, Limit: MaxPage}
		}
		return nil, Plain(err)
	case errors.As(err, &syntax), errors.As(err, &unfit):
		return nil, &NotListError{err}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("the list of %s was cut off: %w", l.What, io.ErrUnexpectedEOF)
	}
	return h, err
}

func decodeList[T any](d *Decoder, add func(*T) error) (*head, error) {
	h := &head{}
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
	case first == nil: // null
		return nil
	case first != json.Delim('['):
		return &NotListError{errors.New("its items are no array")}
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

// NotListError is an answer that is no list of objects.
type NotListError struct{ Err error }

func (e *NotListError) Error() string {
	return "the server's answer is not a list of objects: " + e.Err.Error()
}

// Unwrap returns the fault.
func (e *NotListError) Unwrap() error { return e.Err }

// Decoder is a json.Decoder that refuses values of more than MaxObject bytes. It
// reads a watch, an event at a time, or the objects of a list.
type Decoder struct {
	*json.Decoder
	in *valueReader
}

// NewDecoder returns a decoder of r. what names a value in the error.
func NewDecoder(r io.Reader, what string) *Decoder {
	in := &valueReader{r: r, what: what}
	return &Decoder{json.NewDecoder(in), in}
}

// Decode reads the next value. A larger one is a *TooLargeError.
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
		return &NotListError{fmt.Errorf("%q in place of %q", fmt.Sprint(t), wanted)}
	}
	return nil
}

// valueReader counts what a decoder reads, which is never much more than the value
// that it decodes.
type valueReader struct {
	r         io.Reader
	what      string
	read, end int64
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
