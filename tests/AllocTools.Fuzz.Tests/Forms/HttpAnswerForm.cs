using System.Diagnostics;
using System.Text;
using AllocTools.Connections.Directories;
using AllocTools.HostMemory;
using AllocTools.Testing;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.Fuzz.Tests.Forms;

/// <summary>
/// The answer of a peer of the directory over HTTP: a byte that says whether its last bytes are repeated endlessly, and
/// then all bytes of the answer, from the status line on.
/// </summary>
internal sealed class HttpAnswerForm : ByteForm
{
    private const int MostEntries = 8;
    private const int Repeated = 64;

    /// <summary>
    /// Headers, the longest body, and what the HTTP client reads in addition so that it can reuse a connection.
    /// </summary>
    private const int MostRead = 4 << 20;

    private static readonly TimeSpan RequestTimeout = TestTime.Seconds(5);

    private readonly ServiceProvider _services;
    private readonly IDirectoryStore _store;
    private AnswerStream _answer = new(default, false);

    public HttpAnswerForm()
    {
        IConfiguration configuration = new ConfigurationBuilder().AddInMemoryCollection(new Dictionary<string, string?> { ["AllocTools:Directory:Peers"] = "http://directory" }).Build();
        var services = new ServiceCollection();
        services.AddLogging();
        services.AddSingleton(configuration);
        services.AddRmaMemoryPool<HostProvider>(configuration.GetSection("AllocTools"));
        services.AddRmaDirectory(static o => (o.MaxEntriesPerName, o.MaxEntryBytes, o.RequestTimeout, o.Lease) = (MostEntries, 16 << 10, RequestTimeout, 6 * RequestTimeout))
            .HttpClient.UseSocketsHttpHandler((handler, _) =>
            {
                handler.PooledConnectionLifetime = TimeSpan.Zero;
                handler.ConnectCallback = (_, _) => ValueTask.FromResult<Stream>(_answer);
            });
        _services = services.BuildServiceProvider();
        _store = _services.GetRequiredService<IDirectoryStore>();
    }

    public override string Name => "http-answer";

    public override int Inputs => 2_000;

    public override int MostLength => 32 << 10;

    // The error may contain the reason that the peer gives, which has at most 512 characters.
    public override int MostWords => 800;

    public override Gen<byte[]> Valid { get; } = Gen.Select(new DirectoryAnswerForm().Valid, Gen.Bool, static byte[] (body, isChunked) =>
    [
        0,
        .. Encoding.ASCII.GetBytes("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag: \"7\"\r\n"),
        .. Encoding.ASCII.GetBytes(isChunked ? $"Transfer-Encoding: chunked\r\n\r\n{body.Length:x}\r\n" : $"Content-Length: {body.Length}\r\n\r\n"),
        .. body,
        .. Encoding.ASCII.GetBytes(isChunked ? "\r\n0\r\n\r\n" : ""),
    ]);

    public override Gen<byte[]> Others { get; } = Gen.Select(
        Gen.Byte[0, 1],
        Gen.OneOf("200 OK", "204 No Content", "206 Partial Content", "301 Moved", "304 Not Modified", "400 Bad", "404 Not Found", "409 Conflict", "500 \u0001", "999 ?", "100 Continue", "0 x", "-1 x", "99999999999 x"),
        Gen.OneOf("", "Content-Type: text/html", "Content-Length: 9223372036854775807", "Content-Length: -1", "Content-Length: 5\r\nContent-Length: 6", "Transfer-Encoding: chunked", "Content-Encoding: gzip", "Location: http://elsewhere/", "ETag: \"", "Set-Cookie: a=b"),
        Gen.OneOf("", "{}", "{\"entries\":[]}", "{\"entries\":" + new string('[', 3000), "{\"reason\":\"\\u001b[0m\"}", "<html>", "7fffffffffffffff\r\nx", "ffffffffffffffffff\r\n", "-5\r\n", "5\r\n12345\r\n", new string(' ', 5000)),
        static (mode, status, header, body) => Encoding.UTF8.GetBytes($"{(char)mode}HTTP/1.1 {status}\r\n{header}{(header.Length == 0 ? "" : "\r\n")}\r\n{body}"));

    public override IReadOnlyList<byte[]> Words { get; } =
    [
        .. Texts(Encoding.ASCII, "\r\n", "\r\n\r\n", "HTTP/1.0 ", "HTTP/2 ", "Content-Length: 1\r\n", "Transfer-Encoding: chunked\r\n", "Connection: close\r\n", "0\r\n\r\n", "ffffffff\r\n", ": ", "\0"),
        .. DirectoryRecordForm.Pieces,
    ];

    // The HTTP client has its own threads.
    public override long? MostAllocated(int length) => null;

    public override string? Read(ReadOnlyMemory<byte> input)
    {
        _answer = new AnswerStream(input.IsEmpty ? input : input[1..], !input.IsEmpty && (input.Span[0] & 1) != 0);
        long start = Stopwatch.GetTimestamp();
        string? error = null;
        try
        {
            DirectoryAnswer answer = _store.ReadAsync(DirectoryRecordForm.Service, CancellationToken.None).GetAwaiter().GetResult();
            Assert.InRange(answer.Records.Count + answer.Mistakes!.Count, 0, MostEntries);
            Assert.All(answer.Records, static r => Assert.Equal(DirectoryRecordForm.Service, r.Entry.Name));
        }
        catch (RmaDirectoryException e)
        {
            // This is what was wrong with the answer of the only peer.
            error = (e.InnerException as RmaDirectoryException ?? e).Message;
            // An endless answer is given up in time, whatever it consists of.
            if (e.ErrorType == "timeout")
            {
                Assert.True(Stopwatch.GetElapsedTime(start) < RequestTimeout + TestTime.Seconds(10));
                return error;
            }
        }
        Assert.True(Stopwatch.GetElapsedTime(start) < RequestTimeout + TestTime.Seconds(10));
        Assert.InRange(_answer.Taken, 0, MostRead);
        return error;
    }

    protected override void Close()
    {
        _services.DisposeAsync().AsTask().GetAwaiter().GetResult();
        _answer.Dispose();
    }

    /// <summary>The connection with the peer: writes are discarded, and reads return the answer.</summary>
    private sealed class AnswerStream(ReadOnlyMemory<byte> answer, bool isEndless) : TransportStream
    {
        private int _at;

        /// <summary>Gets the number of bytes that were read.</summary>
        public long Taken { get; private set; }

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (_at == answer.Length && isEndless)
                _at = Math.Max(0, answer.Length - Repeated);
            int length = Math.Min(buffer.Length, answer.Length - _at);
            answer.Slice(_at, length).CopyTo(buffer);
            _at += length;
            Taken += length;
            return ValueTask.FromResult(length);
        }
    }
}
