using System.Runtime.InteropServices;

namespace AllocTools.Interop;

/// <summary>Sockets of native code in this process, by their descriptors' numbers.</summary>
internal static unsafe partial class SocketDescriptors
{
    private const int DuplicateCloseOnExec = 1030;
    private const int ShutBoth = 2;

    /// <summary>Returns the kernel's name for a descriptor, such as <c>socket:[4711]</c>, which no other socket has; null if it is closed.</summary>
    public static string? NameOf(int descriptor)
    {
        try
        {
            return new FileInfo($"/proc/self/fd/{descriptor}").LinkTarget;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Ends the connection of a TCP socket. The socket's owner detects the end, and closes the socket.</summary>
    /// <param name="descriptor">The socket.</param>
    /// <param name="name">The socket's name (<see cref="NameOf"/>).</param>
    /// <param name="abort">Whether unsent bytes are dropped when the owner closes the socket: SO_LINGER with a time of
    /// 0, socket(7).</param>
    /// <returns>False if the socket is closed, is not a TCP socket, or is not connected.</returns>
    public static bool TryShutDown(int descriptor, string name, bool abort)
    {
        // The owner may close the socket at any time, and its number may then be reused: a duplicate of our own keeps referring to the socket.
        int own = fcntl(descriptor, DuplicateCloseOnExec, 0);
        if (own < 0)
            return false;
        bool isDown = NameOf(own) == name && IsTcp(own) && (!abort || TryDropUnsent(own)) && shutdown(own, ShutBoth) == 0;
        _ = close(own);
        return isDown;
    }

    private static bool TryDropUnsent(int descriptor)
    {
        const int SocketLevel = 1, Linger = 13;
        // struct linger: l_onoff, l_linger.
        int* linger = stackalloc int[] { 1, 0 };
        return setsockopt(descriptor, SocketLevel, Linger, linger, 2 * sizeof(int)) == 0;
    }

    private static bool IsTcp(int descriptor)
    {
        const int Inet = 2, Inet6 = 10, AddressRoom = 128;
        byte* address = stackalloc byte[AddressRoom];
        int length = AddressRoom;
        return getpeername(descriptor, address, &length) == 0 && *(ushort*)address is Inet or Inet6;
    }

    [LibraryImport("libc")]
    [UnmanagedCallConv(CallConvs = [typeof(System.Runtime.CompilerServices.CallConvCdecl)])]
    private static partial int fcntl(int descriptor, int command, int argument);

    [LibraryImport("libc")]
    private static partial int close(int descriptor);

    [LibraryImport("libc")]
    private static partial int shutdown(int descriptor, int how);

    [LibraryImport("libc")]
    private static partial int setsockopt(int descriptor, int level, int option, void* value, int length);

    [LibraryImport("libc")]
    private static partial int getpeername(int descriptor, byte* address, int* length);
}
