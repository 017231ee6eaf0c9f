using System.Runtime.InteropServices;

namespace AllocTools.Mpi.Interop;

/// <summary>
/// Loads a library so that its symbols are there for what it loads itself (RTLD_GLOBAL), as Open MPI's plug-ins want it;
/// <see cref="NativeLibrary"/> keeps them apart. dlopen(3).
/// </summary>
internal static partial class GlobalLibrary
{
    private const int RTLD_NOW = 0x2;
    private const int RTLD_GLOBAL = 0x100;

    /// <returns>The handle; 0 where it can't be loaded.</returns>
    public static nint TryLoad(string name)
    {
        if (!OperatingSystem.IsLinux())
            return NativeLibrary.TryLoad(name, out nint module) ? module : 0;
        try
        {
            return dlopen(name, RTLD_NOW | RTLD_GLOBAL);
        }
        catch (EntryPointNotFoundException)
        {
            // glibc before 2.34.
            return dlopenOfLibdl(name, RTLD_NOW | RTLD_GLOBAL);
        }
    }

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint dlopen(string name, int flags);

    [LibraryImport("libdl.so.2", EntryPoint = "dlopen", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint dlopenOfLibdl(string name, int flags);
}
