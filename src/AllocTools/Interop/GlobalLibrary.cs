using System.Runtime.InteropServices;
using System.Text;

namespace AllocTools.Interop;

/// <summary>
/// Loads a library so that its symbols are there for what it loads itself (RTLD_GLOBAL), as Open MPI's plug-ins want it;
/// <see cref="NativeLibrary"/> keeps them apart. dlopen(3).
/// </summary>
internal static partial class GlobalLibrary
{
    private const int RTLD_NOW = 0x2;
    private const int RTLD_GLOBAL = 0x100;
    private const int RTLD_NOLOAD = 0x4;
    private const string Cache = "/etc/ld.so.cache";

    // Where the system searches besides what its cache lists. ld.so(8).
    private static readonly string[] Folders = ["/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"];

    /// <returns>The handle; 0 where it can't be loaded.</returns>
    public static nint TryLoad(string name)
    {
        if (!OperatingSystem.IsLinux())
            return NativeLibrary.TryLoad(name, out nint module) ? module : 0;
        return Open(name, RTLD_NOW | RTLD_GLOBAL);
    }

    /// <summary>A name is that of a library that is loaded.</summary>
    public static bool IsLoadedAs(string name, nint module)
    {
        if (!OperatingSystem.IsLinux())
            return NativeLibrary.TryLoad(name, out nint other) && other == module;
        return Open(name, RTLD_NOW | RTLD_NOLOAD) == module;
    }

    /// <summary>A file, or a name that the system searches for, is that of a library that is loaded.</summary>
    public static bool IsLoaded(string name) => OperatingSystem.IsLinux() && Open(name, RTLD_NOW | RTLD_NOLOAD) != 0;

    /// <summary>The system would find a library of this name. It is not loaded.</summary>
    public static bool IsThere(string name)
    {
        if (!OperatingSystem.IsLinux())
            return false;
        string[] first = NativeEnvironment.Get("LD_LIBRARY_PATH")?.Split(':', ';') ?? [];
        return first.Concat(Folders).Any(f => File.Exists(Path.Combine(f, name))) || IsInCache(name);
    }

    /// <summary>The cache of ldconfig(8) has strings that end with a zero, the paths of libraries among them.</summary>
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
            // glibc before 2.34.
            return dlopenOfLibdl(name, flags);
        }
    }

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint dlopen(string name, int flags);

    [LibraryImport("libdl.so.2", EntryPoint = "dlopen", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint dlopenOfLibdl(string name, int flags);
}
