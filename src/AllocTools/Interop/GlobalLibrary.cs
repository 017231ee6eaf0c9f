using System.Runtime.InteropServices;
using System.Text;

namespace AllocTools.Interop;

/// <summary>
/// Loads a library so that its symbols are available to the libraries that it loads itself (RTLD_GLOBAL), as Open
/// MPI's plug-ins require; <see cref="NativeLibrary"/> keeps them separate. dlopen(3).
/// </summary>
internal static partial class GlobalLibrary
{
    private const int RTLD_NOW = 0x2;
    private const int RTLD_GLOBAL = 0x100;
    private const int RTLD_NOLOAD = 0x4;
    private const string Cache = "/etc/ld.so.cache";

    // These are the folders that the system searches in addition to the libraries in its cache. ld.so(8).
    private static readonly string[] Folders = ["/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"];

    /// <returns>The handle; 0 if the library can't be loaded.</returns>
    public static nint TryLoad(string name)
    {
        if (!OperatingSystem.IsLinux())
            return NativeLibrary.TryLoad(name, out nint module) ? module : 0;
        return Open(name, RTLD_NOW | RTLD_GLOBAL);
    }

    /// <summary>Whether a name refers to a given loaded library.</summary>
    public static bool IsLoadedAs(string name, nint module)
    {
        if (!OperatingSystem.IsLinux())
            return NativeLibrary.TryLoad(name, out nint other) && other == module;
        return Open(name, RTLD_NOW | RTLD_NOLOAD) == module;
    }

    /// <summary>Whether a file, or a name that the system searches for, refers to a loaded library.</summary>
    public static bool IsLoaded(string name) => OperatingSystem.IsLinux() && Open(name, RTLD_NOW | RTLD_NOLOAD) != 0;

    /// <summary>Whether the system would find a library of this name. It is not loaded.</summary>
    public static bool IsThere(string name)
    {
        if (!OperatingSystem.IsLinux())
            return false;
        string[] first = NativeEnvironment.Get("LD_LIBRARY_PATH")?.Split(':', ';') ?? [];
        return first.Concat(Folders).Any(f => File.Exists(Path.Combine(f, name))) || IsInCache(name);
    }

    /// <summary>Whether the cache of ldconfig(8) lists a library. It contains the paths of libraries as strings that end with a zero.</summary>
    private static bool IsInCache(string name)
    {
        if (!File.Exists(Cache))
            return false;
        byte[] cache = File.ReadAllBytes(Cache);
        byte[] end = Encoding.UTF8.GetBytes("/" + name + "\0");
        for (int at = 0, found; (found = cache.AsSpan(at).IndexOf(end)) >= 0; at += found + end.Length)
        {
            int last = at + found + end.Length - 1;
            int start = cache.AsSpan(0, last).LastIndexOf((byte)0) + 1;
            if (File.Exists(Encoding.UTF8.GetString(cache, start, last - start)))
                return true;
        }
        return false;
    }

    private static nint Open(string name, int flags)
    {
        try
        {
            return dlopen(name, flags);
        }
        catch (EntryPointNotFoundException)
        {
            // This is glibc before 2.34.
            return dlopenOfLibdl(name, flags);
        }
    }

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint dlopen(string name, int flags);

    [LibraryImport("libdl.so.2", EntryPoint = "dlopen", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint dlopenOfLibdl(string name, int flags);
}
