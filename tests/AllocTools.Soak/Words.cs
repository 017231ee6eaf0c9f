using System.Buffers.Binary;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace AllocTools.Soak;

/// <summary>The message that the two processes exchange before bytes can move: a line of JSON.</summary>
internal sealed record Hello
{
    /// <summary>Gets the address of the endpoint.</summary>
    public required byte[] Address { get; init; }

    /// <summary>Gets the memory that may be read, filled with the pattern of <see cref="Seed"/>.</summary>
    public required byte[] Readable { get; init; }

    public required uint Seed { get; init; }

    /// <summary>
    /// Gets, for a peer, its memory for requests: <see cref="Request.Slots"/> times <see cref="Request.SlotBytes"/>.
    /// </summary>
    public byte[]? Slots { get; init; }

    /// <summary>Gets, for a peer, the port at which it accepts connections.</summary>
    public int Port { get; init; }

    /// <summary>Gets, for the main process, the peer's number, which the peer's notifications contain.</summary>
    public int Peer { get; init; }
}

/// <summary>The answer of a paused peer: what it has done since its last answer, and its current resources.</summary>
internal sealed record PeerAnswer
{
    public required IReadOnlyDictionary<string, long> Done { get; init; }

    public required IReadOnlyDictionary<string, long> Documented { get; init; }

    public required long WrongBytes { get; init; }

    public required IReadOnlyCollection<string> Faults { get; init; }

    /// <summary>Gets the sample; null in the last answer of a peer that ends.</summary>
    public Sample? Sample { get; init; }
}

/// <summary>The orders of the main process to a peer; each is answered by a line.</summary>
internal static class Order
{
    /// <summary>The peer stops reading, and answers with its counts and a sample.</summary>
    public const string Pause = "pause";

    /// <summary>The peer continues; this order is not answered.</summary>
    public const string Continue = "continue";

    /// <summary>The peer reopens its endpoint, and says hello again.</summary>
    public const string Renew = "renew";

    /// <summary>The peer closes everything, answers with what was left, and ends.</summary>
    public const string End = "end";
}

[JsonSerializable(typeof(Hello))]
[JsonSerializable(typeof(PeerAnswer))]
internal sealed partial class WordsJson : JsonSerializerContext;

/// <summary>
/// A request, as it is written into a slot of a peer: the pattern follows the header. The peer checks it, writes the
/// pattern of <see cref="AnswerSeed"/> into the memory that the request names, and sends a notification that
/// <see cref="AnswerOf"/> decodes.
/// </summary>
/// <param name="Length">The length of the header and the pattern.</param>
/// <param name="Seed">The seed of the pattern.</param>
/// <param name="AnswerLength">The number of bytes of the answer.</param>
/// <param name="AnswerSeed">The seed of the answer's pattern.</param>
/// <param name="Answer">The memory for the answer, which is exposed for this request only.</param>
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

    /// <summary>Reads a request and checks its pattern.</summary>
    /// <param name="slot">The slot.</param>
    /// <param name="wrong">The number of wrong bytes.</param>
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

    /// <summary>Returns the number with which a peer notifies; it fits into 4 bytes.</summary>
    public static ulong Notification(int peer, int slot, bool isRight) => ((ulong)(peer & 0xFFFF) << 8) | (isRight ? 0u : WrongFlag) | (uint)slot;

    /// <inheritdoc cref="Notification"/>
    public static (int Peer, int Slot, bool IsRight) AnswerOf(ulong notification) => ((int)(notification >> 8), (int)(notification & 0x7F), (notification & WrongFlag) == 0);
}

/// <summary>
/// The data on connections: a header with the length and the seed, and the pattern. The answer's seed is the next one,
/// or the one after that if the pattern was wrong.
/// </summary>
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

    /// <summary>Reads and checks a frame; returns null at the end of the stream.</summary>
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
