using System.Buffers;
using System.IO.Pipelines;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Unicode;

namespace WorkerService;

/// <summary>A message from one side to the other.</summary>
/// <remarks>
/// The sender sends the ticket's token and the file, then how many bytes of it follow the message, and at the end its
/// hash. The receiver reports how much it has, at first with the hash of that, and at the end its summary. Either side
/// may send the reason why it gives up, or an empty message while it is still at work.
/// </remarks>
internal sealed record Message(
    string? Token = null, FileState? File = null, long? Has = null, int? Piece = null, byte[]? Hash = null, TransferSummary? Summary = null, string? Abort = null);

[JsonSourceGenerationOptions(DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(Message))]
internal sealed partial class WireJson : JsonSerializerContext;

/// <summary>The other side of a transfer. Each message is a line of JSON; the bytes of the file are sent unchanged between them.</summary>
internal sealed class Peer(RmaConnection connection, string name, double seconds)
{
    /// <summary>The number of bytes that announce a piece, before it.</summary>
    public const int PieceHeader = 32;

    /// <summary>How often a side that is at work reports that.</summary>
    public static readonly TimeSpan WordEach = TimeSpan.FromMilliseconds(100);

    private const int MostMessageBytes = 64 << 10;

    private static readonly Message StillAtWork = new();
    private static readonly TimeSpan LastWordTime = TimeSpan.FromSeconds(1);

    /// <summary>The error for a message that is not allowed at this point.</summary>
    public TransferException OutOfTurn => new($"The {name} sent an unexpected message.");

    private string Ended => $"The {name} closed the connection before the whole file was transferred.";

    public async Task SendAsync(Message message, CancellationToken cancellationToken)
    {
        connection.Output.Write(JsonSerializer.SerializeToUtf8Bytes(message, WireJson.Default.Message));
        connection.Output.Write("\n"u8);
        await FlushAsync(cancellationToken);
    }

    /// <summary>Announces the bytes that follow it in the same memory.</summary>
    public static void WritePieceHeader(Span<byte> memory, int length)
    {
        Span<byte> header = memory[..PieceHeader];
        header.Fill((byte)' ');
        Utf8.TryWrite(header, InvariantCulture, $"{{\"{nameof(Message.Piece)}\":{length}}}", out _);
        header[^1] = (byte)'\n';
    }

    /// <summary>Runs long work on another thread, and meanwhile reports to the peer that this side is at work.</summary>
    public async Task DuringAsync(Action work, CancellationToken cancellationToken)
    {
        var working = Task.Run(work, CancellationToken.None);
        // The work uses its files and memory until it has ended, so it must be awaited whatever happens here.
        try
        {
            while (await Task.WhenAny(working, Task.Delay(WordEach, CancellationToken.None)) != working)
                await SendAsync(StillAtWork, cancellationToken);
        }
        finally
        {
            await working;
        }
    }

    /// <summary>Sends the peer the reason why this side gives up, if the peer still listens. The first failure counts.</summary>
    public async Task GiveUpAsync(Exception exception) =>
        await SendAsync(new Message(Abort: Report.LineOf(exception)), CancellationToken.None).WaitAsync(LastWordTime).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);

    public ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken) => WaitAsync(connection.Output.FlushAsync(cancellationToken), cancellationToken);

    /// <summary>Receives the next message.</summary>
    /// <exception cref="JsonException">The message can't be read.</exception>
    public async Task<Message> ReceiveAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            ReadResult result = await ReadAsync(cancellationToken);
            ReadOnlySequence<byte> bytes = result.Buffer;
            if (bytes.PositionOf((byte)'\n') is not { } end)
            {
                if (result.IsCompleted || bytes.Length > MostMessageBytes)
                    throw new TransferException(result.IsCompleted ? Ended : $"The {name} sent a message of more than {MostMessageBytes} bytes.");
                connection.Input.AdvanceTo(bytes.Start, bytes.End);
                continue;
            }
            Message message = Parse(bytes.Slice(0, end));
            connection.Input.AdvanceTo(bytes.GetPosition(1, end));
            if (message.Abort is not null)
                throw new TransferException($"The {name} gave up: {message.Abort}");
            if (message != StillAtWork)
                return message;
        }

        Message Parse(ReadOnlySequence<byte> line)
        {
            var reader = new Utf8JsonReader(line);
            return JsonSerializer.Deserialize(ref reader, WireJson.Default.Message) ?? throw OutOfTurn;
        }
    }

    /// <summary>Reads the available bytes, at least one.</summary>
    public async ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken)
    {
        ReadResult result = await WaitAsync(connection.Input.ReadAsync(cancellationToken), cancellationToken);
        return !result.IsCompleted || !result.Buffer.IsEmpty ? result : throw new TransferException(Ended);
    }

    private ValueTask<T> WaitAsync<T>(ValueTask<T> operation, CancellationToken cancellationToken) => operation.IsCompleted
        ? operation
        : new ValueTask<T>(operation.AsTask().InTimeAsync(seconds, $"The {name} has been silent for {seconds} s: it is gone, or hangs.", cancellationToken));
}
