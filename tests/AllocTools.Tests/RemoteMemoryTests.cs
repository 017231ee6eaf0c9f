using System.Buffers.Binary;
using Xunit;

namespace AllocTools.Tests;

public sealed class RemoteMemoryTests
{
    private static readonly RemoteMemory Plain = new(0x7f00_1234_5678, 5L << 30, 0xDEAD_BEEF_0BAD_F00D, RmaAccess.RemoteWrite);

    public static TheoryData<int, byte, string> Damages => new()
    {
        { 0, 0x00, "starts with 0xA7" },
        { 1, 2, "version 2" },
        { 2, 0x80, "access 0x80" },
        { 3, 2, "kind 2" },
        { 4, 9, "9 bytes" },
        { 5, 4, "bytes" },
        { 6, 1, "reserved" },
        { 30, 1, "reserved" },
        { 23, 0x80, "negative" },
    };

    [Fact]
    public void TheBinaryFormIsStable() => Assert.Equal(
        "A701040008000000" + "785634120" + "07F0000" + "0000004001000000" + "0000000000000000" + "0DF0AD0BEFBEADDE",
        Convert.ToHexString(Plain.ToArray()));

    [Fact]
    public void BothKindsOfKeysComeBack()
    {
        Assert.Equal(Plain, RemoteMemory.Read(Plain.ToArray()));
        byte[] key = [.. Enumerable.Range(0, RemoteMemory.MaxKeyLength).Select(i => (byte)i)];
        var raw = new RemoteMemory(10, 20, key, 4711, RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
        byte[] bytes = raw.ToArray();
        Assert.Equal(RemoteMemory.MaxEncodedLength, bytes.Length);
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
        Assert.False(RemoteMemory.TryRead(bytes, out RemoteMemory memory, out int consumed, out string? error));
        Assert.Equal(default, memory);
        Assert.Equal(0, consumed);
        Assert.Contains(says, error, StringComparison.Ordinal);
        Assert.Equal(error, Assert.Throws<FormatException>(() => RemoteMemory.Read(bytes)).Message);
    }

    [Fact]
    public void EveryCutIsRefused()
    {
        byte[] bytes = Plain.ToArray();
        for (int length = 0; length < bytes.Length; length++)
            Assert.False(RemoteMemory.TryRead(bytes.AsSpan(0, length), out _, out _, out _));
    }

    [Fact]
    public void ARangeBeyondTheLastAddressIsRefused()
    {
        byte[] bytes = Plain.ToArray();
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(8), ulong.MaxValue - 10);
        Assert.False(RemoteMemory.TryRead(bytes, out _, out _, out _));
        Assert.Throws<ArgumentOutOfRangeException>(() => new RemoteMemory(ulong.MaxValue, 1, 0, RmaAccess.RemoteRead));
        Assert.Throws<ArgumentOutOfRangeException>(() => new RemoteMemory(0, -1, 0, RmaAccess.RemoteRead));
        Assert.Throws<ArgumentOutOfRangeException>(() => new RemoteMemory(0, 1, [], 0, RmaAccess.RemoteRead));
        Assert.Throws<ArgumentOutOfRangeException>(() => new RemoteMemory(0, 1, new byte[RemoteMemory.MaxKeyLength + 1], 0, RmaAccess.RemoteRead));
    }

    [Fact]
    public void RandomBytesNeverDoMoreThanFail()
    {
        var random = new Random(7);
        byte[] bytes = new byte[80];
        for (int i = 0; i < 200_000; i++)
        {
            random.NextBytes(bytes);
            // Most of them past the first checks.
            if (i % 2 == 0)
                Plain.ToArray().AsSpan(0, random.Next(8)).CopyTo(bytes);
            if (RemoteMemory.TryRead(bytes, out RemoteMemory memory, out int consumed, out _))
                Assert.True(memory.ToArray().AsSpan().SequenceEqual(bytes.AsSpan(0, consumed)));
        }
    }

    [Fact]
    public void ItsTextHasNeitherAddressNorKey()
    {
        string text = Plain.ToString();
        Assert.DoesNotContain("7f00", text, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("DEAD", text, StringComparison.OrdinalIgnoreCase);
    }
}
