using System.Diagnostics;
using AllocTools.Diagnostics;
using AllocTools.Interop;
using AllocTools.Libfabric.Interop;
using AllocTools.Regions;
using Microsoft.Extensions.Logging;

namespace AllocTools.Libfabric;

/// <summary>Memory behind each posted receive, for the part of a message that exceeds its buffer.</summary>
/// <remarks>
/// libfabric may fail on a message that is longer than its receive (measured with 1.17): shm never completes the
/// receive, and from 8 KiB on both processes hang; tcp;ofi_rxm breaks the connection, so the sender's later messages
/// fail; udp;ofi_rxd truncates the message and reports success. Therefore each receive is posted with two ranges, the
/// caller's buffer and this memory. No message that a peer may send is too long for both, and its length shows that it
/// was too long for the buffer. All receives share the memory, because it is never read; its pages are allocated only
/// when a message is written there. If local descriptors are required, it would have to be registered and pinned, so
/// the transport's own FI_ETRUNC is used instead.
/// </remarks>
internal sealed class ReceiveOverflow
{
    /// <summary>The amount that may stay resident, because less is not worth a system call.</summary>
    private const long KeptBytes = 64 << 10;

    private readonly nint _address;

    private ReceiveOverflow(nint address, long length)
    {
        _address = address;
        Length = length;
    }

    /// <summary>The length of the memory in bytes, which is that of the longest message.</summary>
    public long Length { get; }

    public nint Address => _address;

    /// <summary>Maps the memory. Returns null if it can't be used, or if the system has no address space for it.</summary>
    /// <param name="info">The interface in force.</param>
    /// <param name="traits">The requirements of the provider.</param>
    /// <param name="longestMessage">The longest message that a peer may send, in bytes.</param>
    /// <param name="logger">The log for the reason if the system has no address space.</param>
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

    /// <summary>Called when a message of that length did not fit into its buffer; releases the pages that it has filled.</summary>
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
