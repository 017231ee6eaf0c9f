using AllocTools.Libfabric.Interop;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>Tests address formats of fabrics that are not available here.</summary>
public sealed class PeerAddressFormatTests
{
    [Fact]
    public void ADevicesAddressesHaveOneLength()
    {
        PeerAddressFormat efa = new(fi_addr_format.FI_ADDR_EFA, new byte[32]);
        Assert.Null(efa.FindReasonAgainst([.. Enumerable.Repeat((byte)1, 32)]));
        Assert.Contains("32 bytes (FI_ADDR_EFA)", efa.FindReasonAgainst(new byte[31]), StringComparison.Ordinal);
        Assert.Contains("32 bytes (FI_ADDR_EFA)", efa.FindReasonAgainst(new byte[33]), StringComparison.Ordinal);
    }

    // Addresses of ucx and lnx have any length.
    [Theory]
    [InlineData(0)]
    [InlineData(16)]
    [InlineData(99)]
    public void OfAFormatThatIsUnknownEveryAddressMayBeOne(uint format)
    {
        PeerAddressFormat unknown = new((fi_addr_format)format, new byte[100]);
        Assert.Null(unknown.FindReasonAgainst(new byte[200]));
        Assert.NotNull(unknown.FindReasonAgainst([]));
    }

    [Fact]
    public void ASocketAddressHasTheFamilyOfItsEndpoint()
    {
        byte[] own = [10, 0, .. new byte[26]];
        PeerAddressFormat six = new(fi_addr_format.FI_SOCKADDR_IN6, own);
        Assert.Null(six.FindReasonAgainst([10, 0, .. Enumerable.Repeat((byte)7, 26)]));
        Assert.Contains("28 bytes and family 10", six.FindReasonAgainst([2, 0, .. new byte[26]]), StringComparison.Ordinal);
        Assert.NotNull(six.FindReasonAgainst([10, 0, .. new byte[14]]));
    }
}
