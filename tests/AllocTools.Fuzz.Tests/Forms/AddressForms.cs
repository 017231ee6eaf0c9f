using System.Buffers.Binary;
using System.Net;
using System.Text;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Addressing;
using AllocTools.HostMemory;
using AllocTools.Libfabric;
using AllocTools.Libfabric.Interop;
using AllocTools.Mpi;
using AllocTools.Regions;
using AllocTools.Ucx;

namespace AllocTools.Fuzz.Tests.Forms;

/// <summary>An endpoint's address with its trailer.</summary>
internal sealed class EndpointAddressForm : ByteForm
{
    public override string Name => "endpoint-address";

    public override Gen<byte[]> Valid => Gen.Select(Gen.Byte.Array[1, 64], Values.Description, static (transport, description) => EndpointAddress.Compose(transport, description))
        .Where(static address => address.Length <= EndpointAddress.MaxLength);

    public override IReadOnlyList<byte[]> Words { get; } = [[0xA7, (byte)'R', (byte)'M', (byte)'A'], [(byte)'R', (byte)'M', (byte)'A', 0xA7]];

    public override int Inputs => 200_000;

    public static void RepairTrailer(Span<byte> input)
    {
        ReadOnlySpan<byte> mark = [0xA7, (byte)'R', (byte)'M', (byte)'A'];
        int start = input.LastIndexOf(mark);
        if (start < 0 || input.Length - start < 16)
            return;
        Span<byte> footer = input[^12..];
        BinaryPrimitives.WriteUInt16LittleEndian(footer[4..], (ushort)(input.Length - start));
        BinaryPrimitives.WriteUInt16LittleEndian(footer[6..], 1);
        "RMA"u8.CopyTo(footer[8..]);
        footer[11] = 0xA7;
        BinaryPrimitives.WriteUInt32LittleEndian(footer, Crc32C.Of(input[start..^12]));
    }

    public override void Repair(byte[] input) => RepairTrailer(input);

    public override string? Read(ReadOnlyMemory<byte> input)
    {
        ReadOnlySpan<byte> transport = EndpointAddress.Parse(input.Span, out TransportDescription? description, out string? error);
        Assert.True(input.Span.StartsWith(transport));
        if (description is null || error is not null)
        {
            Assert.False(description is not null && error is not null);
            return error;
        }
        Assert.True(EndpointAddress.Compose(transport, description).AsSpan().SequenceEqual(input.Span));
        return null;
    }
}

/// <summary>The fields of a description of a transport.</summary>
internal sealed class TransportDescriptionForm : ByteForm
{
    private static readonly TransportDescription Own = new()
    {
        Provider = "shm",
        Protocol = (1, 1),
        Library = new Version(1, 17),
        AddressFormat = 1,
        Words = TransportDescription.OwnWords,
        Keys = (RmaAddressing.Offset, false, 8),
        Context = 1,
        Place = new PeerPlace(Guid.NewGuid(), 1, 1),
    };

    public override string Name => "transport-description";

    public override Gen<byte[]> Valid => Values.Description.Select(static description => description.Encoded);

    public override int Inputs => 200_000;

    public override string? Read(ReadOnlyMemory<byte> input)
    {
        TransportDescription? description = TransportDescription.Decode(input.Span, out string? error);
        if (description is null)
        {
            Assert.NotNull(error);
            return error;
        }
        Assert.Null(error);
        Assert.True(description.Encoded.AsSpan().SequenceEqual(input.Span));
        // A copy is encoded again, and has the same content.
        TransportDescription? again = TransportDescription.Decode(description.Copy().Encoded, out error);
        Assert.Null(error);
        Assert.Equal(description.ToString(), again!.ToString());
        Assert.Null(again.FindReasonAgainst(description));
        string? reason = Own.FindReasonAgainst(description);
        Assert.True(reason is null || !reason.Any(char.IsControl));
        return null;
    }
}

/// <summary>The place of a process.</summary>
internal sealed class PeerPlaceForm : ByteForm
{
    public override string Name => "peer-place";

    public override Gen<byte[]> Valid => Values.Place.Select(static place => place.ToArray());

    public override string? Read(ReadOnlyMemory<byte> input)
    {
        if (PeerPlace.Read(input.Span) is not { } place)
            return "It is no place.";
        Assert.True(place.ToArray().AsSpan().SequenceEqual(input.Span));
        return null;
    }
}

/// <summary>A transport's own address in the format of libfabric's providers. The first byte selects the format.</summary>
internal sealed class SocketAddressForm : ByteForm
{
    private static readonly byte[] Own4 = [2, 0, 0x1F, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    private static readonly byte[] Own6 = [10, 0, 0x1F, 0x90, 0, 0, 0, 0, .. IPAddress.IPv6Loopback.GetAddressBytes(), 0, 0, 0, 0];

    private static readonly (fi_addr_format Format, byte[] Own)[] Formats =
    [
        (fi_addr_format.FI_SOCKADDR_IN, Own4),
        (fi_addr_format.FI_SOCKADDR_IN6, Own6),
        (fi_addr_format.FI_SOCKADDR, Own6),
        (fi_addr_format.FI_ADDR_STR, Encoding.ASCII.GetBytes("fi_shm://1234:0\0")),
        (fi_addr_format.FI_ADDR_EFA, new byte[32]),
        (fi_addr_format.FI_FORMAT_UNSPEC, new byte[32]),
    ];

    public override string Name => "transport-address";

    public override Gen<byte[]> Valid => Gen.Int[0, Formats.Length - 1].Select(static index => (byte[])[(byte)index, .. Formats[index].Own]);

    public override IReadOnlyList<byte[]> Words => ["fi_shm://"u8.ToArray(), "fi_sm2://"u8.ToArray(), [0], IPAddress.IPv6Any.GetAddressBytes()];

    public override string? Read(ReadOnlyMemory<byte> input)
    {
        if (input.IsEmpty)
            return "It has no format.";
        (fi_addr_format format, byte[] own) = Formats[input.Span[0] % Formats.Length];
        ReadOnlySpan<byte> address = input.Span[1..];
        if (new PeerAddressFormat(format, own).FindReasonAgainst(address) is { } reason)
            return reason;
        if (SocketAddressBytes.TryRead(format, address, out IPEndPoint? endPoint))
            Assert.True(SocketAddressBytes.WithHost(address, endPoint.Address).AsSpan().SequenceEqual(address));
        return new PeerReach(format, own, own, null).FindReasonAgainst(address, new PeerPlace(default, 1, 1));
    }
}

/// <summary>UCX's address; the worker's part of it is passed to UCX.</summary>
internal sealed class UcxAddressForm : ByteForm
{
    public override string Name => "ucx-address";

    public override Gen<byte[]> Valid => Gen.Select(Gen.ULong, Gen.Byte.Array[0, 200], static (number, worker) => UcxAddress.Compose(number, UcxErrorHandling.Peer, worker));

    public override void Repair(byte[] input) => Seal(input);

    public override string? Read(ReadOnlyMemory<byte> input)
    {
        if (UcxAddress.FindReasonAgainst(input.Span, UcxErrorHandling.Peer) is { } reason)
            return reason;
        Assert.Equal(input.Length, 28 + UcxAddress.WorkerOf(input.Span).Length);
        Assert.Equal(0UL, UcxAddress.NumberOf(input.Span) & UcxTag.KindMask);
        return null;
    }
}

/// <summary>MPI's address, by which messages and writes are sent to a rank.</summary>
internal sealed class MpiAddressForm : ByteForm
{
    private const int Ranks = 16;
    private const int HighestNumber = 255;

    private static readonly MpiAddress Own = new(job: 0x0123456789ABCDEF, rank: 3, Ranks, HighestNumber, "mpich");

    public override string Name => "mpi-address";

    public override Gen<byte[]> Valid => Gen.Int[0, HighestNumber].Select(Own.Compose);

    public override IReadOnlyList<byte[]> Words => ["RMAMPI01"u8.ToArray()];

    public override int Inputs => 40_000;

    public override string? Read(ReadOnlyMemory<byte> input)
    {
        try
        {
            MpiPlace place = Own.Parse(input.Span);
            Assert.InRange(place.Rank, 0, Ranks - 1);
            Assert.InRange(place.Endpoint, 0, HighestNumber);
            _ = MpiAddress.IdentityOf(input.Span);
            return null;
        }
        catch (RmaProviderException e)
        {
            // All messages begin alike.
            return e.Message[(e.Message.IndexOf(": ", StringComparison.Ordinal) + 2)..];
        }
    }
}

/// <summary>An address that is inserted into an endpoint, and memory that is imported after it.</summary>
internal sealed class InsertedPeerForm : ByteForm
{
    private readonly IRmaContext _context = new HostProvider(new HostProviderOptions { Locking = PageLocking.None }).Open();
    private readonly IRmaEndpoint _endpoint;

    public InsertedPeerForm() => _endpoint = _context.OpenEndpoint();

    public override string Name => "inserted-peer";

    // This is the address of this form's own endpoint: an endpoint of another context can't be reached.
    public override Gen<byte[]> Valid => Gen.Const(_endpoint.Address.ToArray());

    public override IReadOnlyList<byte[]> Words { get; } = [[0xA7, (byte)'R', (byte)'M', (byte)'A'], [(byte)'R', (byte)'M', (byte)'A', 0xA7]];

    public override void Repair(byte[] input) => EndpointAddressForm.RepairTrailer(input);

    public override string? Read(ReadOnlyMemory<byte> input)
    {
        try
        {
            RmaPeer peer = _endpoint.InsertPeer(input.Span);
            _endpoint.RemovePeer(peer);
            return null;
        }
        catch (RmaProviderException e)
        {
            return e.Message;
        }
    }

    protected override void Close()
    {
        _endpoint.Dispose();
        _context.Dispose();
    }
}
