using System.Buffers.Binary;
using AllocTools.Endpoints.Addressing;
using AllocTools.Regions;
using CsCheck;
using Xunit;

namespace AllocTools.Tests;

/// <summary>
/// Tests the form of an endpoint's address (docs/wire-forms.md), and how descriptions of transports are compared.
/// </summary>
public sealed class EndpointAddressTests
{
    /// <summary>The encoded fields of the description that the tests use.</summary>
    internal const string DescriptionBytes =
        "01800B007463703B6F66695F72786D"
        + "028008000E00000001000000"
        + "030008000100000011000000"
        + "0400040002000000"
        + "058002000108"
        + "0680040000000800"
        + "07000800EFCDAB8967452301";

    private static readonly byte[] Transport = [2, 0, 0x1F, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    private static readonly byte[] Address = EndpointAddress.Compose(Transport, Description);

    internal static TransportDescription Description => new()
    {
        Provider = "tcp;ofi_rxm",
        Protocol = (14, 1),
        Library = new Version(1, 17),
        AddressFormat = 2,
        Words = (TransportDescription.ByteOrder.LittleEndian, 8),
        Keys = (RmaAddressing.Offset, false, 8),
        Context = 0x0123_4567_89AB_CDEF,
    };

    [Fact]
    public void TheFormIsStable() => Assert.Equal(
        Convert.ToHexString(Transport) + "A7524D41" + DescriptionBytes + "159A2E2B" + "5900" + "0100" + "524D41A7",
        Convert.ToHexString(Address));

    [Fact]
    public void ItComesBack()
    {
        Assert.True(EndpointAddress.Parse(Address, out TransportDescription? description, out string? error).SequenceEqual(Transport));
        Assert.Null(error);
        Assert.Equal(DescriptionBytes, Convert.ToHexString(description!.Encoded));
        Assert.Null(Description.FindReasonAgainst(description));
        Assert.Equal(((uint, uint)?)(14, 1), description.Protocol);
        Assert.Equal(Description.Context, description.Context);
    }

    [Fact]
    public void WithoutATrailerNothingIsKnownOfItsTransport()
    {
        Assert.True(EndpointAddress.Parse(Transport, out TransportDescription? description, out string? error).SequenceEqual(Transport));
        Assert.Null(description);
        Assert.Null(error);
    }

    [Fact]
    public void EachCutAndWhateverIsAppendedIsFound()
    {
        // Up to four bytes after the transport's own part are not yet a mark; the transport recognises them by the
        // length of its part.
        for (int length = Transport.Length + 4; length < Address.Length; length++)
            AssertRefused(Address.AsSpan(0, length), "truncated");
        AssertRefused([.. Address, 0], "appended");
        AssertRefused(Address.AsSpan(Transport.Length + 1), "truncated");
        AssertRefused(Address.AsSpan(Address.Length - 4), "truncated");
        AssertRefused([.. new byte[EndpointAddress.MaxLength], .. Address], "at most");
    }

    [Fact]
    public void EachBitOfTheTrailerThatIsFlippedIsFound()
    {
        for (int bit = 8 * Transport.Length; bit < 8 * Address.Length; bit++)
        {
            byte[] damaged = [.. Address];
            damaged[bit / 8] ^= (byte)(1 << (bit % 8));
            AssertRefused(damaged, "");
        }
    }

    // A machine may be reachable under another address from outside.
    [Fact]
    public void TheHostAndThePortMayBeChangedOnTheWay()
    {
        byte[] translated = [.. Address];
        translated[4] = 192;
        Assert.Equal(translated.AsSpan(..Transport.Length), EndpointAddress.Parse(translated, out TransportDescription? description, out string? error));
        Assert.Null(error);
        Assert.NotNull(description);
    }

    [Fact]
    public void ALaterVersionIsRefusedByItsNumber()
    {
        byte[] later = [.. Address];
        later[^6] = 2;
        AssertRefused(later, "version 2, and this AllocTools reads version 1");
    }

    [Theory]
    [InlineData("63000200AAAA", null)]
    [InlineData("63800200AAAA", "does not know (field 99)")]
    [InlineData("63000300AAAA", "within a field")]
    [InlineData("630002", "within a field")]
    [InlineData("018003007368A7", "provider can't be read")]
    [InlineData("01800000", "provider can't be read")]
    [InlineData("05800200030A", "word order can't be read")]
    [InlineData("06800400000001F0", "keys can't be read")]
    [InlineData("0300040000000100", "library version can't be read")]
    [InlineData("018003007368" + "6D" + "018003007368" + "6D", "stated twice")]
    [InlineData("", null)]
    public void WhatFieldsMaySay(string fields, string? says)
    {
        TransportDescription? description = TransportDescription.Decode(Convert.FromHexString(fields), out string? error);
        Assert.Equal(says is null, description is not null);
        if (says is not null)
            Assert.Contains(says, error, StringComparison.Ordinal);
        else
            Assert.Null(error);
    }

    // A description that was read is passed on unchanged, whatever a later version may have added to it.
    [Fact]
    public void UnknownFieldsStayWhereTheyWere()
    {
        byte[] fields = [0x63, 0, 1, 0, 0xAA, .. Description.Encoded];
        TransportDescription read = TransportDescription.Decode(fields, out _)!;
        Assert.Equal(fields, read.Encoded);
        Assert.Equal("tcp;ofi_rxm", read.Provider);
    }

    // The checksum is correct, so that the data after it is tried, too.
    [Fact]
    public void WhateverItIsItIsReadOrRefused() => Gen.Select(
        Gen.Byte.Array[0, 200], Gen.Int[0, 120], Gen.Byte.Array[0, 8], Gen.Bool).Sample((noise, at, patch, isNoise) =>
    {
        byte[] bytes = isNoise ? EndpointAddress.Compose(Transport, Described(noise)) : [.. Address];
        patch.AsSpan(0, Math.Min(patch.Length, Math.Max(0, bytes.Length - at))).CopyTo(bytes.AsSpan(Math.Min(at, bytes.Length)));
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(^12), Crc32C.Of(bytes.AsSpan(Transport.Length..^12)));
        ReadOnlySpan<byte> transport = EndpointAddress.Parse(bytes, out TransportDescription? description, out string? error);
        if (error is null && description is not null)
            Assert.Equal(bytes, EndpointAddress.Compose(transport, description));
        else
            Assert.Equal(error is null, bytes.AsSpan().SequenceEqual(transport));
    }, iter: 200_000);

    public static TheoryData<string, string> Misfits => new()
    {
        { "provider", "the providers differ" },
        { "protocol", "their protocols differ" },
        { "protocol version", "their protocols differ" },
        { "address format", "their address formats differ" },
        { "byte order", "big-endian" },
        { "word size", "32 bits" },
        { "key width", "keys have 4 bytes, this one's 8" },
        { "raw keys", "a raw key, this one works with integer keys" },
    };

    [Theory]
    [MemberData(nameof(Misfits))]
    public void WhatDoesNotFitIsSaidWithBothSides(string what, string says)
    {
        TransportDescription other = Description;
        _ = what switch
        {
            "provider" => (object)(other.Provider = "tcp"),
            "protocol" => other.Protocol = (24, 1),
            "protocol version" => other.Protocol = (14, 2),
            "address format" => other.AddressFormat = 3,
            "byte order" => other.Words = (TransportDescription.ByteOrder.BigEndian, 8),
            "word size" => other.Words = (TransportDescription.ByteOrder.LittleEndian, 4),
            "key width" => other.Keys = (RmaAddressing.Offset, false, 4),
            _ => other.Keys = (RmaAddressing.Offset, true, 8),
        };
        other.Library = new Version(2, 6);
        string reason = Description.FindReasonAgainst(other)!;
        Assert.Contains(says, reason, StringComparison.Ordinal);
        Assert.Contains("libfabric 2.6", reason, StringComparison.Ordinal);
        Assert.Contains("'tcp;ofi_rxm' (libfabric 1.17, protocol 14 version 1)", reason, StringComparison.Ordinal);
    }

    [Fact]
    public void SharedMemoryNeedsTheSameLibraryPlaceAndAddressing()
    {
        TransportDescription own = SharedMemory();
        Assert.Null(own.FindReasonAgainst(SharedMemory()));
        AssertMisfit(d => d.Library = new Version(2, 6), "lays out shared memory");
        AssertMisfit(d => d.Place = d.Place!.Value with { Boot = Guid.NewGuid() }, "another machine");
        AssertMisfit(d => d.Place = d.Place!.Value with { SharedMemory = 6 }, "another /dev/shm");
        AssertMisfit(d => d.Keys = (RmaAddressing.Offset, false, 8), "VirtualAddressing");

        void AssertMisfit(Action<TransportDescription> change, string says)
        {
            TransportDescription other = SharedMemory();
            change(other);
            Assert.Contains(says, own.FindReasonAgainst(other), StringComparison.Ordinal);
        }
    }

    // On other transports, the protocols themselves say whether they have changed, and each side looks up its own memory.
    [Fact]
    public void WhatDoesNoHarmIsNoReason()
    {
        TransportDescription other = Description;
        other.Library = new Version(2, 6);
        other.Keys = (RmaAddressing.VirtualAddress, false, 8);
        other.Provider = "tcp;ofi_rxm;ofi_hook_perf";
        other.Context = 1;
        Assert.Null(Description.FindReasonAgainst(other));
        Assert.Null(Description.FindReasonAgainst(new TransportDescription()));
    }

    private static TransportDescription SharedMemory() => new()
    {
        Provider = "shm",
        Library = new Version(1, 17),
        Place = new PeerPlace(new Guid("00112233-4455-6677-8899-aabbccddeeff"), 4, 5),
        Keys = (RmaAddressing.VirtualAddress, false, 8),
    };

    private static TransportDescription Described(byte[] fields) => TransportDescription.Decode([0x63, 0, (byte)fields.Length, 0, .. fields], out _)!;

    private static void AssertRefused(ReadOnlySpan<byte> address, string says)
    {
        EndpointAddress.Parse(address, out TransportDescription? description, out string? error);
        Assert.Null(description);
        Assert.NotNull(error);
        Assert.Contains(says, error, StringComparison.Ordinal);
    }
}
