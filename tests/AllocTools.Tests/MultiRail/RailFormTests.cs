using AllocTools.Endpoints;
using AllocTools.MultiRail;
using Microsoft.Extensions.Options;
using Xunit;

namespace AllocTools.Tests.MultiRail;

/// <summary>Tests the forms of addresses and memory that a multi-rail's peers get, and the rails it may consist of.</summary>
public sealed class RailFormTests
{
    [Fact]
    public async Task ADamagedFormIsRefusedWhereverTheDamageIs()
    {
        await using var rails = new TwoRails();
        byte[] address = rails.Owner.Address.ToArray();
        byte[] memory = rails.Exposure.ToArray();
        for (int i = 0; i < Math.Max(address.Length, memory.Length) * 8; i++)
        {
            AssertRefused(address, i, bytes => rails.Writer.InsertPeer(bytes));
            AssertRefused(memory, i, bytes => rails.Writer.Import(rails.Peer, bytes));
        }
        for (int length = 0; length < address.Length; length++)
            Assert.Throws<FormatException>(() => rails.Writer.InsertPeer(address.AsSpan(0, length)));
        Assert.Throws<FormatException>(() => rails.Writer.InsertPeer([.. address, 0]));
        // Each form is used where the other one is expected.
        Assert.Contains("kind", Assert.Throws<FormatException>(() => rails.Writer.InsertPeer(memory)).Message, StringComparison.Ordinal);
        Assert.Contains("kind", Assert.Throws<FormatException>(() => rails.Writer.Import(rails.Peer, address)).Message, StringComparison.Ordinal);

        static void AssertRefused(byte[] whole, int bit, Action<byte[]> read)
        {
            if (bit >= whole.Length * 8)
                return;
            byte[] damaged = [.. whole];
            damaged[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.Throws<FormatException>(() => read(damaged));
        }
    }

    // The checksum is correct, as a liar would make it.
    [Fact]
    public void AFormThatLiesIsRefusedField()
    {
        var word = new RemoteMemory(0, 8, 1UL, RmaAccess.RemoteRead);
        RailForm.Rail rail = new("a", new byte[] { 1 }, word);
        Assert.Equal("a", Assert.Single(Read(RailForm.Content.Addresses, rail).Rails).Name);
        AssertRefused(RailForm.Content.Addresses, "two rails of the name", rail, rail);
        AssertRefused(RailForm.Content.Addresses, "between 1 and 16");
        AssertRefused(RailForm.Content.Addresses, "between 1 and 16", [.. Enumerable.Range(0, 17).Select(i => rail with { Name = $"r{i}" })]);
        AssertRefused(RailForm.Content.Addresses, "length of the address", rail with { Address = default });
        AssertRefused(RailForm.Content.Addresses, "length of the address", rail with { Address = new byte[1025] });
        AssertRefused(RailForm.Content.Memory, "length of the address", rail);
        AssertRefused(RailForm.Content.Addresses, "printable", rail with { Name = "a b" });
        AssertRefused(RailForm.Content.Addresses, "printable", rail with { Name = "" });

        static RailForm Read(RailForm.Content kind, params RailForm.Rail[] rails) =>
            RailForm.Read(new RailForm { Kind = kind, Owner = Guid.NewGuid(), Rails = rails }.ToArray(), kind);

        static void AssertRefused(RailForm.Content kind, string why, params RailForm.Rail[] rails) =>
            Assert.Contains(why, Assert.Throws<FormatException>(() => Read(kind, rails)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task SidesWithoutACommonRailAreTold()
    {
        await using var rails = new TwoRails();
        await using var other = new RmaMultiRail([new RmaRail("elsewhere", rails.Pools[0], rails.OwnersEndpoints[0])]);
        var error = Assert.Throws<ArgumentException>(() => rails.Writer.InsertPeer(other.Address.Span));
        Assert.Contains("The peer has the rails elsewhere, and this side has rail0, rail1.", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task WhatARailIsCalledAndHowOftenIsChecked()
    {
        await using var rails = new TwoRails();
        RmaRail rail = new("a", rails.Pools[0], rails.OwnersEndpoints[0]);
        Assert.Contains("Rails has 0 entries", Assert.Throws<ArgumentException>(() => new RmaMultiRail([])).Message, StringComparison.Ordinal);
        Assert.Contains("Rails:1:Name is 'a', as that of an earlier rail", Assert.Throws<ArgumentException>(() => new RmaMultiRail([rail, rail])).Message, StringComparison.Ordinal);
        Assert.Contains("Rails:0:Name is 'a b'", Assert.Throws<ArgumentException>(() => new RmaMultiRail([rail with { Name = "a b" }])).Message, StringComparison.Ordinal);
        var error = Assert.Throws<OptionsValidationException>(() => new RmaMultiRail([rail], new RmaMultiRailOptions { StripeLength = 1, Delay = TimeSpan.FromSeconds(2), MaxDelay = TimeSpan.FromSeconds(1) }));
        Assert.Equal(
            ["StripeLength is 1; it must be between 4,096 and 1,073,741,824 bytes (4 KiB and 1 GiB).", "MaxDelay is 1 second; it must not be shorter than Delay, 2 seconds."],
            error.Failures);
    }
}
