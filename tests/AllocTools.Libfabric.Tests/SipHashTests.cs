using Xunit;

namespace AllocTools.Libfabric.Tests;

public sealed class SipHashTests
{
    // The published vectors use the secret 00 01 … 0f and the messages 00, 00 01, …; this is the vector with eight bytes.
    [Fact]
    public void ItIsThePublishedOne() =>
        Assert.Equal(0x93f5f5799a932462UL, new SipHash(0x0706050403020100, 0x0f0e0d0c0b0a0908).Hash(0x0706050403020100));
}
