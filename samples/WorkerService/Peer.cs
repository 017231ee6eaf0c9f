using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using System.Text.Json;
using System.Text.Json.Serialization;
using AllocTools.Connections;
using Microsoft.AspNetCore.Connections;

namespace WorkerService;

/// <summary>The sender's first word: who it is (the ticket's token), and the file. Changed is when it was written last, in ticks.</summary>
internal sealed record Offer(string Token, string Name, long Length, long Changed, int ChunkSize, int InFlight);

/// <summary>The receiver's answer: it has the bytes before Start, whose hash is this; the rest goes into these pieces of memory, a chunk each.</summary>
internal sealed record Accept(long Start, byte[] Hash, byte[][] Memory);

/// <summary>A chunk has been written to a piece of the receiver's memory.</summary>
internal sealed record Chunk(int Slot, long Offset, int Length);

/// <summary>What one side tells the other; one of these. Acknowledged is a piece of memory whose chunk is in the receiver's file; Hash is the whole file's, of either side.</summary>
internal sealed record Message(Offer? Offer = null, Accept? Accept = null, Chunk? Chunk = null, int? Acknowledged = null, byte[]? Hash = null, string? Abort = null);

/// <summary>What a receiver tells the process that started it; one of these.</summary>
internal sealed record ChildLine(string? Ticket = null, TransferSummary? Summary = null, string? Error = null);

/// <summary>The forms of all that goes between processes.</summary>
[JsonSourceGenerationOptions(DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(Message))]
[JsonSerializable(typeof(ChildLine))]
[JsonSerializable(typeof(RankJob.Word))]
[JsonSerializable(typeof(Dictionary<string, string>))]
internal sealed partial class WireJson : JsonSerializerContext;

/// <summary>The other side of a transfer: messages over a connection, as JSON with its length before it. The file's bytes go beside them, by RMA writes.</summary>
internal sealed class Peer(RmaConnection connection, string name, TimeSpan timeout)
{
    /// <summary>Enough for the descriptors of 256 pieces of memory with long keys.</summary>
    private const int MostBytes = 1 << 20;

    private bool _hasAborted;

    /// <summary>The peer said something that has no place here.</summary>
    public TransferException OutOfTurn => new($"The {name} sent a message out of turn.");

    /// <summary>Sends a message. One at a time.</summary>
    public async Task SendAsync(Message message, CancellationToken cancellationToken)
    {
        byte[] body = JsonSerializer.SerializeToUtf8Bytes(message, WireJson.Default.Message);
        Span<byte> length = connection.Output.GetSpan(sizeof(int));
        BinaryPrimitives.WriteInt32LittleEndian(length, body.Length);
        connection.Output.Advance(sizeof(int));
        connection.Output.Write(body);
        await connection.Output.FlushAsync(cancellationToken).AsTask().WaitAsync(timeout, cancellationToken);
    }

    /// <summary>Receives the next message.</summary>
    /// <exception cref="TransferException">The peer has given up, was silent for too long, or said what it may not.</exception>
    public async Task<Message> ReceiveAsync(CancellationToken cancellationToken)
    {
        try
        {
            int length = BinaryPrimitives.ReadInt32LittleEndian(await ReadAsync(sizeof(int), cancellationToken));
            if (length is < 1 or > MostBytes)
                throw new TransferException($"The {name} sent a message of {length} bytes.");
            Message? message = JsonSerializer.Deserialize(await ReadAsync(length, cancellationToken), WireJson.Default.Message);
            if (message?.Abort is { } reason)
            {
                _hasAborted = true;
                throw new TransferException($"The {name} gave up: {reason}");
            }
            return message ?? throw OutOfTurn;
        }
        catch (JsonException e)
        {
            throw new TransferException($"The {name} sent a message that can't be read.", e);
        }
        catch (TimeoutException)
        {
            throw new TransferException($"The {name} has said nothing for {timeout.TotalSeconds:0.#} s: it is gone, or hangs.");
        }
        catch (ConnectionResetException e)
        {
            throw new TransferException($"The {name} is gone: {e.Message}", e);
        }
    }

    /// <summary>Tells the peer why this side gives up, where it still listens.</summary>
    public async Task TryAbortAsync(Exception exception)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(1));
        try
        {
            if (!_hasAborted)
                await SendAsync(new Message(Abort: Report.LineOf(exception)), limit.Token);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or InvalidOperationException or TimeoutException or AllocTools.RmaException)
        {
            // It is gone, too; the first failure counts.
        }
    }

    private async ValueTask<byte[]> ReadAsync(int count, CancellationToken cancellationToken)
    {
        ReadResult result = await connection.Input.ReadAtLeastAsync(count, cancellationToken).AsTask().WaitAsync(timeout, cancellationToken);
        if (result.Buffer.Length < count)
            throw new TransferException($"The {name} has ended the connection before the file was through.");
        ReadOnlySequence<byte> bytes = result.Buffer.Slice(0, count);
        byte[] read = bytes.ToArray();
        connection.Input.AdvanceTo(bytes.End);
        return read;
    }
}
