using System.Buffers.Binary;
using System.Net.Sockets;
using AllocTools.Connections;
using AllocTools.Connections.Control;
using AllocTools.Connections.Rings;
using AllocTools.Endpoints;
using AllocTools.Testing;

namespace AllocTools.Fuzz.Tests.Forms;

/// <summary>The notification of a peer's write.</summary>
internal sealed class NotificationForm : ByteForm
{
    public override string Name => "notification";

    public override Gen<byte[]> Valid => Gen.Select(
        Gen.Int[0, Notice.MostConnections], Gen.Int[0, 3], Gen.Int[0, Notice.SequenceMask], static (connection, kind, sequence) => BitConverter.GetBytes(new Notice(connection, (NoticeKind)kind, sequence).Encode()));

    public override string? Read(ReadOnlyMemory<byte> input)
    {
        if (input.Length < sizeof(ulong))
            return "It is too short.";
        ulong value = BinaryPrimitives.ReadUInt64LittleEndian(input.Span);
        var notice = Notice.Decode(value);
        Assert.InRange(notice.Connection, 0, Notice.MostConnections);
        Assert.InRange((int)notice.Kind, 0, 3);
        Assert.InRange(notice.Sequence, 0, Notice.SequenceMask);
        // Some transports carry only 32 bits of it.
        Assert.Equal(value & uint.MaxValue, notice.Encode());
        return null;
    }
}

/// <summary>A message that sets up a connection, or offers a ring. The first byte is its kind.</summary>
internal sealed class SetUpMessageForm : ByteForm
{
    public override string Name => "set-up-message";

    private static Gen<ProcessTerms> Terms => Gen.Select(
        Gen.Guid, Gen.Guid, Gen.Int, Gen.Int[1, int.MaxValue], Gen.Int[1, int.MaxValue], Gen.Bool, Gen.Enum<RmaIntegrity>(),
        static (process, host, id, beat, limit, isComplete, integrity) =>
            new ProcessTerms(process, host, id, TimeSpan.FromMilliseconds(beat), TimeSpan.FromMilliseconds(limit), Timeout.InfiniteTimeSpan, isComplete, integrity));

    public override Gen<byte[]> Valid { get; } = Gen.OneOf(
        Gen.Select(Terms, Gen.Select(Gen.String[Gen.Char['a', 'z'], 0, 20], Gen.Byte.Array[0, 200]).Array[1, 4], static (terms, transports) =>
            SetUpMessages.Hello(terms, [.. transports.Select(static t => (t.Item1, (ReadOnlyMemory<byte>)t.Item2))])),
        Gen.Select(Terms, Gen.String[Gen.Char['a', 'z'], 0, 20], Gen.Byte.Array[0, 200], Gen.Int[0, Notice.MostConnections], Values.Block, static (terms, transport, address, number, block) =>
            SetUpMessages.Welcome(terms, transport, address, number, block)),
        Gen.Select(Gen.Int[0, Notice.MostConnections], Values.Block, SetUpMessages.Block),
        Gen.String[0, 600].Select(SetUpMessages.Refused),
        Values.Block.Select(static block => ControlConnection.Frame(ControlKind.Offer, block.ToArray())))
        // The length is left out.
        .Select(static frame => (byte[])[frame[0], .. frame[3..]]);

    public override int Inputs => 100_000;

    public override void Repair(byte[] input) => Seal(input);

    public override string? Read(ReadOnlyMemory<byte> input)
    {
        if (input.IsEmpty)
            return "It has no kind.";
        ReadOnlySpan<byte> payload = input.Span[1..];
        try
        {
            switch ((ControlKind)input.Span[0])
            {
                case ControlKind.Hello:
                    (ProcessTerms terms, List<(string Name, byte[] Address)> transports) = SetUpMessages.ReadHello(payload);
                    Assert.InRange(transports.Count, 1, 4);
                    AssertSound(terms);
                    break;
                case ControlKind.Welcome:
                    (terms, _, _, int number, RemoteMemory block) = SetUpMessages.ReadWelcome(payload);
                    AssertSound(terms);
                    AssertSound(number, block);
                    break;
                case ControlKind.Block:
                    (number, block) = SetUpMessages.ReadBlock(payload);
                    AssertSound(number, block);
                    break;
                case ControlKind.Refused:
                    string reason = SetUpMessages.ReadRefusal(payload);
                    Assert.True(reason.Length <= 512 && !reason.Any(char.IsControl));
                    break;
                case ControlKind.Offer:
                    if (SetUpMessages.ReadOffer(payload) is { } offered)
                        AssertSound(0, offered);
                    break;
                default:
                    return "It is of another kind.";
            }
            return null;
        }
        catch (RmaConnectionException e)
        {
            return e.Message;
        }
    }

    private static void AssertSound(ProcessTerms terms)
    {
        Assert.True(terms.HeartbeatInterval > TimeSpan.Zero);
        Assert.InRange(terms.LatestWrite, TimeSpan.Zero, TimeSpan.FromMinutes(10));
    }

    private static void AssertSound(int number, RemoteMemory block)
    {
        Assert.InRange(number, 0, Notice.MostConnections);
        Assert.InRange(block.Length, RingBlock.Least, 1 << 30);
        Assert.True(block.Access.HasFlag(RmaAccess.RemoteWrite));
    }
}

/// <summary>The bytes of a control connection, which arrive in pieces of any length.</summary>
internal sealed class ControlStreamForm : ByteForm
{
    public override string Name => "control-stream";

    public override Gen<byte[]> Valid { get; } = Gen.Select(Gen.Int[1, 9], Gen.Byte.Array[0, 100], static (kind, payload) => ControlConnection.Frame((ControlKind)kind, payload))
        .Array[0, 8].Select(static frames => (byte[])[.. frames.SelectMany(static f => f)]);

    // A frame's memory has the length of the longest payload, and a socket is created.
    public override long? MostAllocated(int length) => (64 << 10) + (64L * length);

    public override string? Read(ReadOnlyMemory<byte> input)
    {
        using var stream = new Pieces(input);
        using var control = new ControlConnection(stream, new Socket(SocketType.Stream, ProtocolType.Tcp), TimeProvider.System);
        try
        {
            while (true)
            {
                (ControlKind kind, ReadOnlyMemory<byte> payload) = control.ReadAsync(CancellationToken.None).AsTask().GetAwaiter().GetResult();
                if (kind == ControlKind.None)
                    break;
                Assert.True(Enum.IsDefined(kind), $"{kind}");
                Assert.InRange(payload.Length, 0, ControlConnection.MostPayload);
                Assert.True(input.Span[..stream.Position32].EndsWith(payload.Span));
            }
            Assert.Equal(input.Length, stream.Position32);
            return null;
        }
        catch (RmaConnectionException e)
        {
            return e.Message;
        }
        finally
        {
            // The number of reads is bounded, whatever the bytes are.
            Assert.InRange(stream.Reads, 0, input.Length + 2);
        }
    }

    private sealed class Pieces(ReadOnlyMemory<byte> bytes) : TransportStream
    {
        public int Reads { get; private set; }

        public int Position32 { get; private set; }

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            int length = Math.Min(Math.Min(buffer.Length, bytes.Length - Position32), 1 + (7 * Reads++ % 31));
            bytes.Slice(Position32, length).CopyTo(buffer);
            Position32 += length;
            return ValueTask.FromResult(length);
        }
    }
}
