using System.Buffers.Binary;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Addressing;
using CsCheck;
using Xunit;

namespace AllocTools.Tests;

public sealed class RemoteMemoryTests
{
    private static readonly RemoteMemory Plain = new(0x7f00_1234_5678, 5L << 30, 0xDEAD_BEEF_0BAD_F00D, RmaAccess.RemoteWrite);

    private static readonly RemoteMemory Described = Plain.Of(EndpointAddressTests.Description);

    public static TheoryData<int, byte, string> Damages => new()
    {
        { 0, 0x00, "must start with 0xA7" },
        { 1, 1, "version 1" },
        { 1, 3, "version 3" },
        { 2, 0x80, "access 0x80" },
        { 3, 2, "kind 2" },
        { 4, 9, "9 bytes" },
        { 5, 4, "bytes" },
        { 7, 3, "description of" },
        { 6, 255, "bytes; " },
        { 9, 0x57, "checksum" },
        { 30, 1, "reserved" },
        { 23, 0x80, "negative" },
    };

    [Fact]
    public void TheBinaryFormIsStable()
    {
        string fixedPart = "785634120" + "07F0000" + "0000004001000000" + "0000000000000000" + "0DF0AD0BEFBEADDE";
        Assert.Equal("A702040008000000" + fixedPart + "BB9CA9BA", Convert.ToHexString(Plain.ToArray()));
        Assert.Equal("A702040008004900" + fixedPart + EndpointAddressTests.DescriptionBytes + "87E6C849", Convert.ToHexString(Described.ToArray()));
    }

    [Fact]
    public void BothKindsOfKeysComeBack()
    {
        Assert.Equal(Plain, RemoteMemory.Read(Plain.ToArray()));
        byte[] key = [.. Enumerable.Range(0, RemoteMemory.MaxKeyLength).Select(i => (byte)i)];
        var raw = new RemoteMemory(10, 20, key, 4711, RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
        byte[] bytes = raw.ToArray();
        Assert.Equal(raw.EncodedLength, bytes.Length);
        Assert.InRange(bytes.Length, RemoteMemory.MaxKeyLength, RemoteMemory.MaxEncodedLength);
        RemoteMemory back = RemoteMemory.Read(bytes);
        Assert.Equal(raw, back);
        Assert.True(back.RawKey.SequenceEqual(key));
        Assert.Equal(4711u, back.RawBase);
        Assert.True(RemoteMemory.TryRead([.. bytes, 1, 2, 3], out _, out int consumed, out _));
        Assert.Equal(bytes.Length, consumed);
    }

    [Fact]
    public void ASliceMovesTheAddressAndKeepsTheKey()
    {
        RemoteMemory part = Plain.Slice(100, 200).Slice(1, 2);
        Assert.Equal(Plain.Address + 101, part.Address);
        Assert.Equal(2, part.Length);
        Assert.Equal(Plain.Key, part.Key);
        Assert.Throws<ArgumentOutOfRangeException>(() => part.Slice(1, 2));
        Assert.Throws<ArgumentOutOfRangeException>(() => part.Slice(long.MaxValue, 2));
        Assert.Throws<ArgumentOutOfRangeException>(() => part.Slice(-1, 1));
    }

    [Theory]
    [MemberData(nameof(Damages))]
    public void ADamagedFormSaysWhatIsWrong(int at, byte value, string says)
    {
        byte[] bytes = Plain.ToArray();
        bytes[at] = value;
        if (says is "reserved" or "negative")
            Seal(bytes);
        Assert.False(RemoteMemory.TryRead(bytes, out RemoteMemory memory, out int consumed, out string? error));
        Assert.Equal(default, memory);
        Assert.Equal(0, consumed);
        Assert.Contains(says, error, StringComparison.Ordinal);
        Assert.Equal(error, Assert.Throws<FormatException>(() => RemoteMemory.Read(bytes)).Message);
    }

    [Fact]
    public void EveryCutIsRefused()
    {
        byte[] bytes = Described.ToArray();
        for (int length = 0; length < bytes.Length; length++)
            Assert.False(RemoteMemory.TryRead(bytes.AsSpan(0, length), out _, out _, out _));
    }

    [Fact]
    public void ARangeBeyondTheLastAddressIsRefused()
    {
        byte[] bytes = Plain.ToArray();
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(8), ulong.MaxValue - 10);
        Seal(bytes);
        Assert.False(RemoteMemory.TryRead(bytes, out _, out _, out _));
        Assert.Throws<ArgumentOutOfRangeException>(() => new RemoteMemory(ulong.MaxValue, 1, 0, RmaAccess.RemoteRead));
        Assert.Throws<ArgumentOutOfRangeException>(() => new RemoteMemory(0, -1, 0, RmaAccess.RemoteRead));
        Assert.Throws<ArgumentOutOfRangeException>(() => new RemoteMemory(0, 1, [], 0, RmaAccess.RemoteRead));
        Assert.Throws<ArgumentOutOfRangeException>(() => new RemoteMemory(0, 1, new byte[RemoteMemory.MaxKeyLength + 1], 0, RmaAccess.RemoteRead));
    }

    // The checksum is correct, so that the data after it is tried, too.
    [Fact]
    public void RandomBytesNeverDoMoreThanFail() => Gen.Select(
        Gen.Byte.Array[0, 160], Gen.Int[0, 160], Gen.Byte.Array[0, 8], Gen.Bool).Sample((noise, at, patch, isNoise) =>
    {
        byte[] bytes = isNoise ? noise : Described.ToArray();
        patch.AsSpan(0, Math.Min(patch.Length, Math.Max(0, bytes.Length - at))).CopyTo(bytes.AsSpan(Math.Min(at, bytes.Length)));
        if (!isNoise)
            Seal(bytes);
        if (RemoteMemory.TryRead(bytes, out RemoteMemory memory, out int consumed, out string? error))
            Assert.True(memory.ToArray().AsSpan().SequenceEqual(bytes.AsSpan(0, consumed)));
        else
            Assert.EndsWith(".", error, StringComparison.Ordinal);
    }, iter: 200_000);

    [Fact]
    public void EachBitThatIsFlippedIsFound()
    {
        byte[] bytes = Described.ToArray();
        for (int bit = 0; bit < 8 * bytes.Length; bit++)
        {
            byte[] damaged = [.. bytes];
            damaged[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.False(RemoteMemory.TryRead(damaged, out _, out _, out _), $"bit {bit}");
        }
    }

    [Fact]
    public void TheTransportComesBackAndIsPartOfTheValue()
    {
        RemoteMemory back = RemoteMemory.Read(Described.ToArray());
        Assert.Equal(Described, back);
        Assert.NotEqual(Plain, back);
        Assert.Equal("tcp;ofi_rxm", back.Slice(1, 2).Transport!.Provider);
        Assert.Null(RemoteMemory.Read(Plain.ToArray()).Transport);
    }

    private static void Seal(byte[] bytes) => BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(^4), Crc32C.Of(bytes.AsSpan(..^4)));

    [Fact]
    public void ItsTextHasNeitherAddressNorKey()
    {
        string text = Plain.ToString();
        Assert.DoesNotContain("7f00", text, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("DEAD", text, StringComparison.OrdinalIgnoreCase);
    }
}
