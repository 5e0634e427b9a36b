package stream

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/url"
	"path"

	"k8s.io/apimachinery/pkg/fields"

	"kshell/internal/apiclient"
)

// list reads the list. It delivers the differences between the list and the
// view, and then Synced, if that is needed.
func (o *Objects[T]) list(ctx context.Context) error {
	var read listing[T]
	pages := apiclient.Pages[json.RawMessage]{
		Noun:  path.Base(o.Path),
		Open:  o.openPage,
		Begin: func() { read = listing[T]{limit: o.Limit, keys: map[string]bool{}} },
		Add: func(item *json.RawMessage) error {
			e, err := o.decode(*item)
			if err != nil {
				return &apiclient.NotListError{Err: err}
			}
			if !o.selects(e.meta) {
				return nil
			}
			return read.add(e)
		},
	}
	version, err := pages.Read(ctx)
	if err != nil {
		return listError(ctx, err)
	}
	o.listed, o.version = true, version
	o.l.works()
	for _, c := range o.view.replace(&read) {
		if err := o.deliver(ctx, c); err != nil {
			return err
		}
	}
	return o.sync(ctx)
}

// openPage requests a page of the list. While the server does not answer, the
// observer receives Unanswered events.
func (o *Objects[T]) openPage(ctx context.Context, page url.Values) (io.ReadCloser, error) {
	if ctx.Err() != nil { // the request would run an exec plugin before it fails
		return nil, context.Cause(ctx)
	}
	o.l.beginAttempt()
	query := o.query()
	maps.Copy(query, page)
	body, err := o.Transport.Get(ctx, o.Path, query)
	o.l.endAttempt()
	return body, err
}

// listError returns the error of dial for an error of reading the list.
func listError(ctx context.Context, err error) error {
	var notList *apiclient.NotListError
	var large *apiclient.TooLargeError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case IsFailure(err), errors.As(err, &notList), errors.As(err, &large):
		return err
	}
	return &LostError{err}
}

// query returns the parameters that the list and the watch have in common. Name
// becomes a field selector, because a server answers a watch on the path of one
// object with the object.
func (o *Objects[T]) query() url.Values {
	query := url.Values{}
	maps.Copy(query, o.Query)
	if o.Name == "" {
		return query
	}
	selector := fields.OneTermEqualSelector("metadata.name", o.Name).String()
	if more := o.Query.Get("fieldSelector"); more != "" {
		selector += "," + more
	}
	query.Set("fieldSelector", selector)
	return query
}

// selects reports whether an object has the name that is selected. This check is
// needed because some servers ignore selectors.
func (o *Objects[T]) selects(m Meta) bool { return o.Name == "" || o.Name == m.Name }

// decode decodes an object.
func (o *Objects[T]) decode(data []byte) (*entry[T], error) {
	object := new(T)
	if err := json.Unmarshal(data, object); err != nil {
		return nil, err
	}
	return &entry[T]{object: object, meta: o.Meta(object), size: len(data)}, nil
}
