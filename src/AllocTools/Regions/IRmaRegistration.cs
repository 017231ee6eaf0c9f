using AllocTools.Endpoints;

namespace AllocTools.Regions;

/// <summary>One registration of memory with a transport.</summary>
public interface IRmaRegistration
{
    /// <summary>The local descriptor that this process's operations pass (fi_mr_desc); 0 if there is none.</summary>
    nint LocalDescriptor => 0;

    /// <summary>Returns the description that a peer needs to access a part of it.</summary>
    /// <param name="offset">Bytes from the start of the registration.</param>
    /// <param name="length">Bytes; offset + length stay within the registration.</param>
    /// <param name="access">The operations that the peer may use it for.</param>
    /// <exception cref="NotSupportedException">The transport can't export it.</exception>
    RemoteMemory Describe(long offset, long length, RmaAccess access);
}
