using System.Net;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>
/// Advises on a fault of providers over TCP: they read the number of memory segments from a peer's header without checking
/// it, and write past the space for them. Anyone who reaches the port can cause that, without a key.
/// </summary>
/// <remarks>
/// libfabric's pull request 12593 describes it for tcp, of which net is a variant; no release up to 2.6 has the fix. The
/// published sources of sockets do the same with the numbers in its own header, and nobody maintains that provider. This
/// library can't check data that it does not see; it can only say who should not reach the port. See docs/security.md.
/// </remarks>
internal static class UncheckedSegments
{
    /// <summary>The first version of libfabric whose tcp provider checks the number.</summary>
    public static readonly Version FixedIn = new(2, 7);

    /// <summary>
    /// Returns what to do about an endpoint that has the fault and that strangers may reach. Returns null if it does
    /// not have the fault, or if only this machine reaches it.
    /// </summary>
    /// <param name="provider">The provider in force, such as <c>tcp;ofi_rxm</c>.</param>
    /// <param name="version">The version of libfabric.</param>
    /// <param name="format">The format of the endpoint's address.</param>
    /// <param name="bound">The address that the endpoint is bound to.</param>
    public static string? FindAdvice(string provider, Version version, fi_addr_format format, ReadOnlySpan<byte> bound)
    {
        if (!SocketAddressBytes.TryRead(format, bound, out IPEndPoint? endPoint) || IPAddress.IsLoopback(endPoint.Address))
            return null;
        string[] layers = provider.Split(';');
        if (layers.Contains("sockets"))
            return "use another provider, because no version of this one checks it";
        return (layers.Contains("tcp") || layers.Contains("net")) && version < FixedIn
            ? $"install libfabric {FixedIn} or later, or a package of the distribution that has the fix"
            : null;
    }
}
