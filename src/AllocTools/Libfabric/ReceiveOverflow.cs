using System.Diagnostics;
using AllocTools.Diagnostics;
using AllocTools.Interop;
using AllocTools.Libfabric.Interop;
using AllocTools.Regions;
using Microsoft.Extensions.Logging;

namespace AllocTools.Libfabric;

/// <summary>Memory behind each posted receive, for what of a message is longer than its buffer.</summary>
/// <remarks>
/// libfabric may break on a message that is longer than its receive (measured with 1.17): shm never completes the
/// receive, and from 8 KiB on both processes hang; tcp;ofi_rxm fails the sender's later messages with the connection;
/// udp;ofi_rxd cuts the message and reports success. So each receive is posted with two ranges, the caller's buffer and
/// this memory. No message that a peer may send is too long for both, and its length tells that it was too long for the
/// buffer. All receives share the memory, as nobody reads it; pages exist once a message was written there. Where local
/// descriptors are required it would have to be registered, and pinned: there the transport's own FI_ETRUNC has to do.
/// </remarks>
internal sealed class ReceiveOverflow
{
    /// <summary>What may stay resident: less is not worth a system call.</summary>
    private const long KeptBytes = 64 << 10;

    private readonly nint _address;

    private ReceiveOverflow(nint address, long length)
    {
        _address = address;
        Length = length;
    }

    /// <summary>As long as the longest message, in bytes.</summary>
    public long Length { get; }

    public nint Address => _address;

    /// <summary>Maps the memory; null where it can't be used, or the system has no address space for it.</summary>
    /// <param name="info">The interface in force.</param>
    /// <param name="traits">What it demands.</param>
    /// <param name="longestMessage">What a peer may send, in bytes.</param>
    /// <param name="logger">Takes the reason where the system has none.</param>
    public static unsafe ReceiveOverflow? TryMap(InfoHandle info, RmaProviderTraits traits, long longestMessage, ILogger logger)
    {
        if (traits.LocalDescriptorRequired || info.Info->rx_attr->iov_limit < 2)
            return null;
        long page = Environment.SystemPageSize;
        long length = (longestMessage + page - 1) / page * page;
        int error = SystemPages.MapUnbacked((nuint)length, out nint address);
        if (error == 0)
            return new ReceiveOverflow(address, length);
        Log.NoReceiveOverflow(logger, traits.ProviderName, length, SystemPages.Describe(error));
        return null;
    }

    /// <summary>A message of that length did not fit into its buffer. Gives the pages back that it has filled.</summary>
    public void OnUsed(long bytes)
    {
        if (bytes > KeptBytes)
            _ = SystemPages.Discard(_address, (nuint)Length);
    }

    /// <summary>Unmaps the memory, after the fabric is done with every receive.</summary>
    public void Unmap()
    {
        int error = SystemPages.Unmap(_address, (nuint)Length);
        Debug.Assert(error == 0, "the range was mapped in one piece");
    }
}
