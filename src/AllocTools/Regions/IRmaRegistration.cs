using AllocTools.Endpoints;

namespace AllocTools.Regions;

/// <summary>One registration of memory with a transport.</summary>
public interface IRmaRegistration
{
    /// <summary>The local descriptor that this process's operations pass (fi_mr_desc); 0 where there is none.</summary>
    nint LocalDescriptor => 0;

    /// <summary>What a peer needs to reach a part of it.</summary>
    /// <param name="offset">Bytes from the start of the registration.</param>
    /// <param name="length">Bytes; offset + length stay within the registration.</param>
    /// <param name="access">What the peer is meant to do.</param>
    /// <exception cref="NotSupportedException">The transport can't export it.</exception>
    RemoteMemory Describe(long offset, long length, RmaAccess access);
}
