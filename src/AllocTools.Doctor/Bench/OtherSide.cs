using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using System.Threading.Channels;

namespace AllocTools.Doctor.Bench;

/// <summary>
/// The other side of a measurement, over a TCP connection that transfers words, each as a line of JSON. When the
/// connection ends, so does the measurement.
/// </summary>
internal sealed class OtherSide : IAsyncDisposable
{
    private const int LongestWord = 1 << 20;

    private static readonly TimeSpan LongestAnswer = TimeSpan.FromSeconds(60), LongestNews = TimeSpan.FromSeconds(2);

    private readonly Socket _socket;
    private readonly string _remote;
    private readonly NetworkStream _stream;
    private readonly Channel<Word> _words = Channel.CreateUnbounded<Word>();
    private readonly CancellationTokenSource _gone = new();
    private readonly Task _reading;

    /// <param name="socket">The connected socket.</param>
    /// <param name="remote">The other side's address, for people.</param>
    public OtherSide(Socket socket, string remote)
    {
        _socket = socket;
        _remote = remote;
        _socket.NoDelay = true;
        _stream = new NetworkStream(socket, ownsSocket: true);
        _reading = ReadAsync();
    }

    /// <summary>Cancelled when the connection has ended, by either side.</summary>
    public CancellationToken Gone => _gone.Token;

    /// <summary>This machine's address, as the other side reaches it.</summary>
    public IPAddress LocalAddress => Plain(_socket.LocalEndPoint);

    /// <summary>The other side's address.</summary>
    public IPAddress RemoteAddress => Plain(_socket.RemoteEndPoint);

    /// <summary>The error that is reported when the other side is gone.</summary>
    public BenchException GoneError => new($"The other side ({_remote}) is gone: it was ended, or the network between the two was.");

    public async Task SayAsync(Word word)
    {
        try
        {
            byte[] line = [.. JsonSerializer.SerializeToUtf8Bytes(word, WordJson.Default.Word), (byte)'\n'];
            await _stream.WriteAsync(line).ConfigureAwait(false);
        }
        catch (IOException)
        {
            // The cause is what it reported before it was gone.
            throw await FindFailureAsync().ConfigureAwait(false) ?? GoneError;
        }
    }

    /// <summary>Receives the next word.</summary>
    /// <exception cref="BenchException">The other side is gone, has given up, or does not answer.</exception>
    public async Task<Word> HearAsync(TimeSpan? limit = null)
    {
        try
        {
            Word word = await _words.Reader.ReadAsync().AsTask().WaitAsync(limit ?? LongestAnswer).ConfigureAwait(false);
            return word.Failure is { } failure ? throw GaveUp(failure) : word;
        }
        catch (ChannelClosedException e)
        {
            throw e.InnerException as BenchException ?? GoneError;
        }
        catch (TimeoutException)
        {
            throw new BenchException($"The other side ({_remote}) has said nothing for {(limit ?? LongestAnswer).TotalSeconds} s.");
        }
    }

    /// <summary>Whether the other side is gone, or goes within the time after which its end is known here.</summary>
    public async Task<bool> IsGoneAsync()
    {
        await _reading.WaitAsync(LongestNews).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return Gone.IsCancellationRequested;
    }

    /// <summary>Informs the other side why this one gives up.</summary>
    /// <returns>Whether the other side knows of a failure: it was informed, or had already given up itself.</returns>
    public async Task<bool> GiveUpAsync(string failure)
    {
        if (Gone.IsCancellationRequested)
            return await FindFailureAsync().ConfigureAwait(false) is not null;
        try
        {
            await SayAsync(new Word { Failure = failure }).ConfigureAwait(false);
            return true;
        }
        catch (BenchException e)
        {
            return e.IsTold;
        }
    }

    /// <summary>Returns why the other side has given up, if it has reported that.</summary>
    public async Task<BenchException?> FindFailureAsync()
    {
        await _reading.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        while (_words.Reader.TryRead(out Word? word))
        {
            if (word.Failure is { } failure)
                return GaveUp(failure);
        }
        return null;
    }

    public async ValueTask DisposeAsync()
    {
        await _stream.DisposeAsync().ConfigureAwait(false);
        await _reading.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _gone.Dispose();
    }

    private static BenchException GaveUp(string failure) => new($"The other side gave up: {AllocToolsCommand.OneLine(failure)}") { IsTold = true };

    /// <summary>Unmaps an address: a socket for both families represents IPv4 addresses as IPv6 addresses.</summary>
    private static IPAddress Plain(EndPoint? end) => ((IPEndPoint)end!).Address is { IsIPv4MappedToIPv6: true } mapped ? mapped.MapToIPv4() : ((IPEndPoint)end).Address;

    private static Word Parse(ReadOnlySequence<byte> line)
    {
        var reader = new Utf8JsonReader(line);
        return JsonSerializer.Deserialize(ref reader, WordJson.Default.Word) ?? throw new JsonException();
    }

    private async Task ReadAsync()
    {
        Exception? failure = null;
        try
        {
            // Anyone who connects may send anything, so the length of a line is limited.
            PipeReader input = PipeReader.Create(_stream, new StreamPipeReaderOptions(leaveOpen: true));
            while (true)
            {
                ReadResult read = await input.ReadAsync().ConfigureAwait(false);
                ReadOnlySequence<byte> bytes = read.Buffer;
                while (bytes.PositionOf((byte)'\n') is { } end)
                {
                    await _words.Writer.WriteAsync(Parse(bytes.Slice(0, end))).ConfigureAwait(false);
                    bytes = bytes.Slice(bytes.GetPosition(1, end));
                }
                if (bytes.Length > LongestWord)
                    throw new JsonException();
                input.AdvanceTo(bytes.Start, read.Buffer.End);
                if (read.IsCompleted)
                    break;
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or JsonException)
        {
            failure = e is JsonException ? new BenchException("The other side is not alloctools bench: its answer can't be read.") : null;
        }
        _words.Writer.Complete(failure);
        await _gone.CancelAsync().ConfigureAwait(false);
    }
}
