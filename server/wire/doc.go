// Package wire is Kanta's compact protocol: many calls at once, of all four kinds, on one
// connection over TCP or TLS. A client uses a Transport through connect.NewClient; a Server
// serves the methods of any connect.Server on the connections it is given. The package
// knows nothing of what is called. Why it is as it is, is in DESIGN.md beside it.
//
// This comment is the protocol's specification, version 1. TestGolden decodes its example.
//
// # Numbers and texts
//
// A number is an unsigned varint of Protocol Buffers: seven bits in a byte, the lowest
// first, the high bit of a byte says that another follows. "Bytes" and "text" are a number,
// which is their length, and as many bytes; a text is UTF-8.
//
// # Connection
//
// Under TLS (1.3) the protocol's name in ALPN is "kanta/1". The client speaks first:
//
//	preamble   cb 4b 4e 54, the oldest version it speaks, the newest (a byte each)
//	hello      a frame
//
// The server answers with its own preamble, in which both versions are the one that holds
// from then on: the newest that both speak. If there is none, its preamble says what it
// speaks, and it closes. Then comes its hello, or a goaway frame if it refuses the client.
// The client sends no other frame before it has the server's hello. Preamble, hello and
// goaway are the same in all versions.
//
// A hello is a sequence of fields: number of the field, then bytes. Who does not know a
// field skips it. Those up to 6 must be there; what they limit is what its sender takes.
//
//	1  number  payload of a frame, bytes (32 KiB to 1 MiB)
//	2  number  a message, bytes, before it is packed and after
//	3  number  calls in flight at once (the server's counts)
//	4  number  initial window of a stream, bytes (at least 32 KiB)
//	5  number  initial window of the connection, bytes (at least 32 KiB)
//	6  number  metadata of a call in one direction, bytes, 32 added for each value
//	7  number  wishes, bits: 1 every frame after the hellos has a checksum (if one of the
//	           two wishes it), 2 messages may be packed (if both wish it)
//	8  bytes   credentials (client), at most 4 KiB
//	9  text    name and version of the program, at most 128 bytes
//
// # Frames
//
//	+------------+--------+--------+---------+--------------------------+
//	| flags|kind | length | stream | payload | checksum, if agreed upon |
//	+------------+--------+--------+---------+--------------------------+
//	 1 byte       1 to 4   1 to 3   length    4 bytes
//
// The low four bits of the first byte are the kind, the high ones flags. Length and stream
// are numbers. The checksum is CRC32C of all before it, the lowest byte first.
//
//	 1  hello    both     the fields above
//	 2  open     client   a call begins: opening
//	 3  call     client   a call begins, and this is its first message: opening, piece
//	 4  headers  server   metadata of the answer, before its first message
//	 5  message  both     piece
//	 6  end      both     client: no more messages, no payload; server: status
//	 7  cancel   client   the answer is not wanted; no payload
//	 8  window   both     a number: so many bytes more may be sent
//	 9  ping     both     up to 8 bytes; the answer is a pong with the same
//	10  pong     both
//	11  goaway   both     number (code), text (reason)
//
//	0x10  more     call, message  the message goes on in the stream's next message frame
//	0x20  packed   call, message  on the first piece: the message is compressed
//	0x20  refused  end            from the server: no handler has seen the call
//	0x40  last     open, call, message  the sender's last message. From the server it also
//	               says that the status is ok and that there are no trailers
//	0x80  meta     open, call     the opening has a deadline and metadata
//
// Any other kind or flag, and anything else that breaks a rule of this comment, ends the
// connection: the one who finds it sends goaway and closes.
//
//	opening   number: twice the number of the procedure, plus one if its name follows;
//	          text: the name, such as /kanta.v1.Kanta/Count; with the flag meta also
//	          number: milliseconds until the caller's deadline, 0 without one; metadata
//	metadata  number of values; for each: text (key), text (value)
//	piece     of the first piece only: number: the size of the message as it is sent, if
//	          more pieces follow; number: its unpacked size, if it is packed;
//	          then bytes of the message to the payload's end
//	status    number: 0 for ok, or a code of connect; if not 0: text (message), number of
//	          details, for each: text (type), bytes (value); then metadata: the trailers,
//	          left out if there are none
//
// Procedures are numbered from 1 by the client, in the order in which it first names them
// on the connection, up to 1,024; number 0 is not remembered and always has its name.
// A packed message is one frame of zstd. Messages are encoded in Protocol Buffers.
//
// # Streams
//
// Streams are numbered from 1 to the server's limit. A number belongs to a call from its
// open or call frame until the server's end, or its message with the flag last; then the
// client may use it again: it sends nothing for the old call after it has read that. The
// server does not look at what comes for a stream that has ended, beyond counting it.
// After cancel the client sends nothing more on the stream; the server still ends it.
// A status that is not ok may cut the server's message short; nothing else may.
// On stream 0 are the frames of the connection: hello, ping, pong, goaway and window.
//
// # Flow control
//
// A call or message frame takes 64 and the bytes of its piece from two windows: that of
// its stream and that of the connection. Who has no room for it waits, or sends a smaller
// piece. The receiver gives the room back by window frames as its application takes the
// messages: on the stream, and for all streams on stream 0.
//
// # Leaving
//
// A goaway with code 0 means: no new calls, those in flight go on. A server then refuses
// calls that crossed it on the way (end, refused, code 14); the client closes when its last
// call has ended. A goaway with another code, one of connect's, means that the connection
// is being closed, and why. A server closes a connection on which no whole frame has come
// for a minute; so a client pings when it has heard or said nothing for 15 seconds.
//
// # Example
//
// A client (>) whose credentials are "key" greets the server (<), calls Echo with "hello",
// calls Fail, and calls Wait and gives it up. Behind the bytes of a header and of a payload
// stands what they say.
//
//	> cb4b4e54 1 1
//	> 012e00 01038080040204808080080302800204038080100504808080010602804007010208036b65790906746573742031   hello 1=808004 2=80808008 3=8002 4=808010 5=80808001 6=8040 7=02 8=6b6579 9=746573742031
//	< cb4b4e54 1 1
//	< 012100 010380800402048080800803028002040380801005048080800106028040070102   hello 1=808004 2=80808008 3=8002 4=808010 5=80808001 6=8040 7=02
//	> 431201 03092f742e542f4563686f0a0568656c6c6f   call 1 procedure 1 = /t.T/Echo last
//	< 450701 0a0568656c6c6f   message 1 last
//	> 431001 05092f742e542f4661696c0a03776179   call 1 procedure 2 = /t.T/Fail last
//	< 062601 09076e6f3a207761790118676f6f676c652e70726f746f6275662e4475726174696f6e020801   end 1 code 9 "no: way" google.protobuf.Duration 0801
//	> 430b01 0b092f742e542f57616974   call 1 procedure 5 = /t.T/Wait last
//	> 070001   cancel 1
//	< 060301 010000   end 1 code 1 ""
//
// The first call reads: kind 3 with the flag last; 18 bytes on stream 1; procedure 1, named
// here (3 = 2*1 + 1), in 9 bytes; then the message, which is what Protocol Buffers make of
// it. The whole conversation is testdata/conversation.txt.
package wire
