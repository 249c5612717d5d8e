// Package s3 keeps backups in a bucket of S3, or of what speaks its protocol. It stands by
// itself so that who backs up to a folder links no client of it.
//
// Each name is one object, put in one request: it is there whole or not at all, and there are
// no uploads in parts that somebody must clean up. Listing must see what was put before, as
// it does with S3 and every server that is in use.
package s3

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/kantadb/kanta/query"
)

// Options say where a bucket is. The zero value is AWS itself, with the credentials that its
// own tools use.
type Options struct {
	// Endpoint is the server's address, such as https://storage.example.com:9000. "": AWS.
	Endpoint string
	// Region is that of the bucket. "": it is asked for.
	Region string
	// AccessKey and SecretKey are the credentials, with a SessionToken if they are temporary.
	// "": those of the shared files of AWS's tools, or of the machine's role.
	AccessKey, SecretKey, SessionToken string
	// Transport does the requests. nil: one of its own.
	Transport http.RoundTripper
}

// defaultEndpoint is AWS.
const defaultEndpoint = "https://s3.amazonaws.com"

// retries is how often a request is tried, with growing pauses of a second at most: a server
// that is started again takes less than that.
const retries = 8

// Bucket is a target of backups: what begins with a prefix in a bucket.
type Bucket struct {
	client *minio.Client
	bucket string
	prefix string // "" or ends with '/'
}

var _ query.BackupTarget = (*Bucket)(nil)

// Open names a bucket, which must exist, and a prefix, which may be "". It sends nothing.
func Open(bucket, prefix string, o *Options) (*Bucket, error) {
	if o == nil {
		o = &Options{}
	}
	endpoint := o.Endpoint
	if endpoint == "" {
		endpoint = defaultEndpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return nil, query.Errorf(query.CodeInvalid, "s3: %q is no address of a server such as https://storage.example.com", endpoint)
	}
	creds := credentials.NewStaticV4(o.AccessKey, o.SecretKey, o.SessionToken)
	if o.AccessKey == "" {
		creds = credentials.NewChainCredentials([]credentials.Provider{&credentials.FileAWSCredentials{}, &credentials.IAM{}})
	}
	client, err := minio.New(u.Host, &minio.Options{Creds: creds, Secure: u.Scheme == "https", Region: o.Region, Transport: o.Transport, MaxRetries: retries})
	if err != nil {
		return nil, query.Errorf(query.CodeInvalid, "s3: %w", err)
	}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	if bucket == "" {
		return nil, query.Errorf(query.CodeInvalid, "s3: a bucket is missing")
	}
	return &Bucket{client, bucket, prefix}, nil
}

// Close does nothing; targets have it.
func (b *Bucket) Close() error { return nil }

// wrap says what failed, and in which words of ours.
func (b *Bucket) wrap(ctx context.Context, do, name string, err error) error {
	if err == nil {
		return nil
	}
	place := fmt.Sprintf("%s s3://%s/%s%s", do, b.bucket, b.prefix, name)
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", place, context.Cause(ctx))
	}
	if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		return fmt.Errorf("%s: %w", place, fs.ErrNotExist)
	}
	return fmt.Errorf("%s: %w", place, err)
}

// Put keeps data under a name.
func (b *Bucket) Put(ctx context.Context, name string, data []byte) error {
	_, err := b.client.PutObject(ctx, b.bucket, b.prefix+name, bytes.NewReader(data), int64(len(data)),
		minio.PutObjectOptions{DisableMultipart: true, ContentType: "application/octet-stream"})
	return b.wrap(ctx, "put", name, err)
}

// Get returns what is kept under a name.
func (b *Bucket) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	o, err := b.client.GetObject(ctx, b.bucket, b.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return nil, b.wrap(ctx, "get", name, err)
	}
	data, err := io.ReadAll(io.LimitReader(o, limit+1))
	_ = o.Close() // what was read is read
	if err != nil {
		return nil, b.wrap(ctx, "get", name, err)
	}
	if int64(len(data)) > limit {
		return nil, query.Errorf(query.CodeCorrupt, "s3://%s/%s%s is larger than %d bytes", b.bucket, b.prefix, name, limit)
	}
	return data, nil
}

// List calls f for every name that begins with prefix.
func (b *Bucket) List(ctx context.Context, prefix string, f func(name string, size int64) error) error {
	for o := range b.client.ListObjectsIter(ctx, b.bucket, minio.ListObjectsOptions{Prefix: b.prefix + prefix, Recursive: true}) {
		if o.Err != nil {
			return b.wrap(ctx, "list", prefix, o.Err)
		}
		name, ok := strings.CutPrefix(o.Key, b.prefix)
		if !ok || name == "" || strings.HasSuffix(name, "/") { // some make objects for folders
			continue
		}
		if err := f(name, o.Size); err != nil {
			return err
		}
	}
	return b.wrap(ctx, "list", prefix, ctx.Err())
}

// Delete forgets a name.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	return b.wrap(ctx, "delete", name, b.client.RemoveObject(ctx, b.bucket, b.prefix+name, minio.RemoveObjectOptions{}))
}
