using System.Buffers.Binary;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace AllocTools.Soak;

/// <summary>What the two processes tell each other before bytes can move: a line of JSON.</summary>
internal sealed record Hello
{
    /// <summary>The endpoint's.</summary>
    public required byte[] Address { get; init; }

    /// <summary>Memory that may be read, filled with the pattern of <see cref="Seed"/>.</summary>
    public required byte[] Readable { get; init; }

    public required uint Seed { get; init; }

    /// <summary>Of a peer: memory for requests, <see cref="Request.Slots"/> times <see cref="Request.SlotBytes"/>.</summary>
    public byte[]? Slots { get; init; }

    /// <summary>Of a peer: where it accepts connections.</summary>
    public int Port { get; init; }

    /// <summary>Of the main process: the peer's number, which is in the notifications that it sends.</summary>
    public int Peer { get; init; }
}

/// <summary>What a peer says when it has paused: what it has done since it last said so, and what it has now.</summary>
internal sealed record PeerAnswer
{
    public required IReadOnlyDictionary<string, long> Done { get; init; }

    public required IReadOnlyDictionary<string, long> Documented { get; init; }

    public required long WrongBytes { get; init; }

    public required IReadOnlyCollection<string> Faults { get; init; }

    /// <summary>Not in the last answer, of a peer that ends.</summary>
    public Sample? Sample { get; init; }
}

/// <summary>What the main process tells a peer to do; each is answered by a line.</summary>
internal static class Order
{
    /// <summary>The peer stops reading, and answers with what it has.</summary>
    public const string Pause = "pause";

    /// <summary>It goes on; not answered.</summary>
    public const string Continue = "continue";

    /// <summary>It opens its endpoint anew, and says hello again.</summary>
    public const string Renew = "renew";

    /// <summary>It closes everything, answers with what was left, and ends.</summary>
    public const string End = "end";
}

[JsonSerializable(typeof(Hello))]
[JsonSerializable(typeof(PeerAnswer))]
internal sealed partial class WordsJson : JsonSerializerContext;

/// <summary>
/// A request, as it is written into a slot of a peer: the pattern follows the header. The peer checks it, writes the pattern of <see cref="AnswerSeed"/> into the memory that the
/// request names, and notifies with what <see cref="AnswerOf"/> takes apart.
/// </summary>
/// <param name="Length">Of header and pattern.</param>
/// <param name="Seed">The pattern's.</param>
/// <param name="AnswerLength">How many bytes are wanted.</param>
/// <param name="AnswerSeed">Their pattern.</param>
/// <param name="Answer">Where to write them: memory that is exposed for this request alone.</param>
internal sealed record Request(int Length, uint Seed, int AnswerLength, uint AnswerSeed, byte[] Answer)
{
    public const int Slots = 4, SlotBytes = 128 << 10, HeaderBytes = 256;

    private const int Fixed = 5 * sizeof(int), WrongFlag = 0x80;

    public void WriteTo(Span<byte> slot)
    {
        ReadOnlySpan<int> header = [Length, (int)Seed, AnswerLength, (int)AnswerSeed, Answer.Length];
        for (int i = 0; i < header.Length; i++)
            BinaryPrimitives.WriteInt32LittleEndian(slot[(i * sizeof(int))..], header[i]);
        Answer.CopyTo(slot[Fixed..HeaderBytes]);
        Pattern.Fill(slot[HeaderBytes..Length], Seed);
    }

    /// <summary>Reads it and checks the pattern.</summary>
    /// <param name="slot">The slot.</param>
    /// <param name="wrong">How many bytes are wrong.</param>
    public static Request Read(ReadOnlySpan<byte> slot, out int wrong)
    {
        Span<int> header = stackalloc int[5];
        for (int i = 0; i < header.Length; i++)
            header[i] = BinaryPrimitives.ReadInt32LittleEndian(slot[(i * sizeof(int))..]);
        if (header[0] is < HeaderBytes or > SlotBytes || header[2] is < 1 or > SlotBytes || header[4] is < 1 or > HeaderBytes - Fixed)
            throw new InvalidDataException($"The header of a request is wrong: {string.Join(' ', header.ToArray())}.");
        wrong = Pattern.CountWrong(slot[HeaderBytes..header[0]], (uint)header[1]);
        return new Request(header[0], (uint)header[1], header[2], (uint)header[3], slot.Slice(Fixed, header[4]).ToArray());
    }

    /// <summary>The number by which a peer notifies; it fits into 4 bytes.</summary>
    public static ulong Notification(int peer, int slot, bool isRight) => ((ulong)(peer & 0xFFFF) << 8) | (isRight ? 0u : WrongFlag) | (uint)slot;

    /// <inheritdoc cref="Notification"/>
    public static (int Peer, int Slot, bool IsRight) AnswerOf(ulong notification) => ((int)(notification >> 8), (int)(notification & 0x7F), (notification & WrongFlag) == 0);
}

/// <summary>What goes over connections: a header of the length and the seed, and the pattern. The answer's seed is the next one, or the one after that if the pattern was wrong.</summary>
internal static class Frame
{
    public const int MostBytes = 96 << 10, HeaderBytes = 2 * sizeof(int);

    public static async Task WriteAsync(Stream stream, byte[] room, int length, uint seed, CancellationToken cancellationToken)
    {
        BinaryPrimitives.WriteInt32LittleEndian(room, length);
        BinaryPrimitives.WriteUInt32LittleEndian(room.AsSpan(sizeof(int)), seed);
        Pattern.Fill(room.AsSpan(HeaderBytes, length), seed);
        await stream.WriteAsync(room.AsMemory(0, HeaderBytes + length), cancellationToken);
    }

    /// <summary>Reads and checks one; null at the end of the stream.</summary>
    public static async Task<(int Length, uint Seed, int Wrong)?> ReadAsync(Stream stream, byte[] room, CancellationToken cancellationToken)
    {
        int got = await stream.ReadAtLeastAsync(room.AsMemory(0, HeaderBytes), HeaderBytes, throwOnEndOfStream: false, cancellationToken);
        if (got == 0)
            return null;
        int length = BinaryPrimitives.ReadInt32LittleEndian(room);
        uint seed = BinaryPrimitives.ReadUInt32LittleEndian(room.AsSpan(sizeof(int)));
        if (got < HeaderBytes || length is < 1 or > MostBytes)
            throw new InvalidDataException($"The header of a frame is wrong: {got} bytes, length {length}.");
        await stream.ReadExactlyAsync(room.AsMemory(HeaderBytes, length), cancellationToken);
        return (length, seed, Pattern.CountWrong(room.AsSpan(HeaderBytes, length), seed));
    }

    public static byte[] Room() => new byte[HeaderBytes + MostBytes];
}
