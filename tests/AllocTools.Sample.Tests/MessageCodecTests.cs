using System.Buffers.Binary;
using WorkerService.Protocol;
using Xunit;

namespace AllocTools.Sample.Tests;

/// <summary>Messages come from peers that may be anybody.</summary>
public sealed class MessageCodecTests
{
    private static readonly Guid Session = Guid.NewGuid();
    private static readonly RemoteMemory Memory = new(4096, 1 << 18, 0x1122334455667788, RmaAccess.RemoteWrite);

    private static readonly Message[] Messages =
    [
        new OfferMessage(12345678901, 1 << 18, 8, [1, 2, 3], "größe.bin"),
        new GrantMessage(3, Memory),
        new ChunkMessage(3, 1L << 40, 1 << 18),
        new CompleteMessage([.. Enumerable.Range(0, WireFormat.HashLength).Select(i => (byte)i)]),
        new ResultMessage([.. Enumerable.Range(0, WireFormat.HashLength).Select(i => (byte)i)]),
        new AbortMessage("the disk is full"),
    ];

    public static TheoryData<int> Indexes => [.. Enumerable.Range(0, Messages.Length)];

    [Theory]
    [MemberData(nameof(Indexes))]
    public void WhatIsWrittenIsRead(int index)
    {
        byte[] bytes = Write(Messages[index]);
        Message read = new MessageCodec(Session).Read(bytes)!;
        Assert.IsType(Messages[index].GetType(), read);
        Assert.Equal(bytes, Write(read));
    }

    [Theory]
    [MemberData(nameof(Indexes))]
    public void AnotherSessionsMessageIsNone(int index) =>
        Assert.Null(new MessageCodec(Guid.NewGuid()).Read(Write(Messages[index])));

    [Theory]
    [MemberData(nameof(Indexes))]
    public void ACutMessageIsRefused(int index)
    {
        byte[] whole = Write(Messages[index]);
        for (int length = 0; length < whole.Length; length++)
        {
            byte[] cut = whole[..length];
            if (length < WireFormat.HeaderLength)
            {
                Assert.Null(new MessageCodec(Session).Read(cut));
                continue;
            }
            Assert.Throws<FormatException>(() => new MessageCodec(Session).Read(cut));
            // With a length in its header that agrees, too.
            BinaryPrimitives.WriteUInt16LittleEndian(cut.AsSpan(6), (ushort)(length - WireFormat.HeaderLength));
            if (Messages[index] is not AbortMessage || length > WireFormat.HeaderLength)
                Assert.Throws<FormatException>(() => new MessageCodec(Session).Read(cut));
        }
        Assert.Throws<FormatException>(() => new MessageCodec(Session).Read([.. whole, 0]));
    }

    [Theory]
    [MemberData(nameof(Indexes))]
    public void AnyBytesAreReadOrRefused(int index)
    {
        byte[] whole = Write(Messages[index]);
        var random = new Random(index);
        for (int i = 0; i < 20_000; i++)
        {
            byte[] changed = [.. whole];
            for (int n = random.Next(1, 5); n > 0; n--)
                changed[random.Next(whole.Length)] = (byte)random.Next(256);
            try
            {
                _ = new MessageCodec(Session).Read(changed);
            }
            catch (FormatException)
            {
                // Refused.
            }
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData(".")]
    [InlineData("..")]
    [InlineData("../data.bin")]
    [InlineData("/etc/passwd")]
    [InlineData("a/b")]
    [InlineData("a\\b")]
    [InlineData("C:data")]
    [InlineData("a\0b")]
    [InlineData("a\nb")]
    [InlineData("a\u001b[2Jb")]
    public void ANameThatIsNoPlainFileNameIsRefused(string name)
    {
        Assert.NotNull(FileName.FindError(name));
        byte[] offer = Write(new OfferMessage(1, 4096, 1, [1], name));
        Assert.Throws<FormatException>(() => new MessageCodec(Session).Read(offer));
    }

    [Fact]
    public void ANameIsUpTo255BytesOfUtf8()
    {
        Assert.Null(FileName.FindError(new string('a', 255)));
        Assert.NotNull(FileName.FindError(new string('a', 256)));
        Assert.Null(FileName.FindError(new string('ö', 127)));
        Assert.NotNull(FileName.FindError(new string('ö', 128)));
        Assert.Null(FileName.FindError(".hidden..name"));
    }

    [Theory]
    [InlineData(-1, 4096, 1, 1)]
    [InlineData(1, 0, 1, 1)]
    [InlineData(1, -4096, 1, 1)]
    [InlineData(1, 4096, 0, 1)]
    [InlineData(1, 4096, 1, 0)]
    [InlineData(1, 4096, 1, WireFormat.MaxAddressLength + 1)]
    public void AnOfferOfWhatCannotBeIsRefused(long length, int chunkSize, int inFlight, int addressLength)
    {
        byte[] offer = Write(new OfferMessage(length, chunkSize, inFlight, new byte[addressLength], "a"));
        Assert.Throws<FormatException>(() => new MessageCodec(Session).Read(offer));
    }

    [Fact]
    public void AGrantThatCannotBeWrittenToIsRefused()
    {
        byte[] readOnly = Write(new GrantMessage(0, new RemoteMemory(0, 4096, 1, RmaAccess.RemoteRead)));
        byte[] empty = Write(new GrantMessage(0, new RemoteMemory(0, 0, 1, RmaAccess.RemoteWrite)));
        Assert.Throws<FormatException>(() => new MessageCodec(Session).Read(readOnly));
        Assert.Throws<FormatException>(() => new MessageCodec(Session).Read(empty));
    }

    [Fact]
    public void TheLongestMessagesFit()
    {
        Write(new OfferMessage(long.MaxValue, int.MaxValue, int.MaxValue, new byte[WireFormat.MaxAddressLength], new string('a', WireFormat.MaxFileNameLength)));
        Write(new GrantMessage(int.MaxValue, new RemoteMemory(0, 1, new byte[RemoteMemory.MaxKeyLength], 0, RmaAccess.RemoteWrite)));
        Write(new AbortMessage(new string('a', WireFormat.MaxReasonLength)));
    }

    private static byte[] Write(Message message)
    {
        byte[] room = new byte[WireFormat.MaxMessageLength];
        return room[..new MessageCodec(Session).Write(message, room)];
    }
}
