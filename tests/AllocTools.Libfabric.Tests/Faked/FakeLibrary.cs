using System.Runtime.InteropServices;
using System.Text;
using AllocTools.Libfabric.Tests.Interop;
using AllocTools.Testing;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>The libfabric of the tests' own (native/fake.h), compiled once a process against the installed headers.</summary>
internal static class FakeLibrary
{
    private const int TextRoom = 16 << 10;
    private static readonly Lazy<string> Compiled = new(Compile);

    /// <summary>The library's file, for <see cref="LibfabricOptions.LibraryPath"/>.</summary>
    public static string Path => Compiled.Value;

    /// <summary>From here on the library says that it is of this version.</summary>
    public static unsafe void SetVersion(Version version) =>
        ((delegate* unmanaged<uint, void>)Export("fake_version"))((uint)((version.Major << 16) | version.Minor));

    /// <summary>The k-th call from now, of those with that name, takes a time, and fails where the error is not 0.</summary>
    public static unsafe void Fail(string world, string call, int k, int error, TimeSpan time)
    {
        fixed (byte* name = Text(world), called = Text(call))
            ((delegate* unmanaged<byte*, byte*, int, int, int, void>)Export("fake_fail"))(name, called, k, error, (int)time.TotalMilliseconds);
    }

    public static unsafe void SetEnding(string world, FakeEnding ending, int error)
    {
        fixed (byte* name = Text(world))
            ((delegate* unmanaged<byte*, int, int, void>)Export("fake_completions"))(name, (int)ending, error);
    }

    public static string Calls(string world) => Read("fake_calls", world);

    public static string Misuse(string world) => Read("fake_misuse", world);

    /// <summary>Registered bytes; then how many are open of fabrics, domains, vectors, queues, endpoints, registrations, interfaces.</summary>
    public static unsafe long[] Open(string world)
    {
        long[] open = new long[8];
        fixed (byte* name = Text(world))
        fixed (long* into = open)
            ((delegate* unmanaged<byte*, long*, void>)Export("fake_open"))(name, into);
        return open;
    }

    private static unsafe string Read(string function, string world)
    {
        byte* room = stackalloc byte[TextRoom];
        fixed (byte* name = Text(world))
            ((delegate* unmanaged<byte*, byte*, nuint, void>)Export(function))(name, room, TextRoom);
        return Marshal.PtrToStringUTF8((nint)room)!;
    }

    private static byte[] Text(string text) => Encoding.UTF8.GetBytes(text + '\0');

    private static nint Export(string name) => NativeLibrary.GetExport(NativeLibrary.Load(Path), name);

    private static string Compile()
    {
        string folder = Directory.CreateTempSubdirectory("alloctools-fake-").FullName;
        // The library stays loaded; its file need not stay.
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(folder, recursive: true);
        string library = System.IO.Path.Combine(folder, "libfake.so");
        string sources = System.IO.Path.Combine(Repository.Root, "tests", "AllocTools.Libfabric.Tests", "Faked", "native");
        NativeProgram.Execute(
            "cc", ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-shared", "-fPIC", "-pthread", "-o", library, .. Directory.GetFiles(sources, "*.c")]);
        return library;
    }
}
