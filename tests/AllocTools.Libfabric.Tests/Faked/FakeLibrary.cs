using System.Runtime.InteropServices;
using System.Text;
using AllocTools.Libfabric.Tests.Interop;
using AllocTools.Testing;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>The tests' own libfabric (native/fake.h), compiled against the installed headers.</summary>
internal sealed unsafe class FakeLibrary
{
    /// <summary>The number of counted values: registered bytes, and the kinds of objects.</summary>
    public const int CountedKinds = 8;

    /// <summary>The index of registrations among them.</summary>
    public const int Registrations = 6;

    private const int TextRoom = 16 << 10;
    private static readonly Lazy<string> Folder = new(MakeFolder);
    private static readonly Lazy<FakeLibrary> Compiled = new(static () => new FakeLibrary(Compile()));
    private static int s_copies;
    private readonly nint _module;

    private FakeLibrary(string path)
    {
        Path = path;
        _module = NativeLibrary.Load(path);
    }

    /// <summary>Gets the library that is compiled once per process. It reports itself as libfabric 1.17.</summary>
    public static FakeLibrary Default => Compiled.Value;

    /// <summary>Gets the library's file, for <see cref="LibfabricOptions.LibraryPath"/>.</summary>
    public string Path { get; }

    /// <summary>Creates another copy, with separate worlds, that reports a given version.</summary>
    public static FakeLibrary OfVersion(Version version)
    {
        string path = System.IO.Path.Combine(Folder.Value, $"libfake{Interlocked.Increment(ref s_copies)}.so");
        File.Copy(Default.Path, path);
        FakeLibrary library = new(path);
        ((delegate* unmanaged<uint, void>)library.Export("fake_version"))((uint)((version.Major << 16) | version.Minor));
        return library;
    }

    /// <summary>Makes the k-th call from now, among those with a name, fail, or holds it if the error is 0.</summary>
    public void Fail(string world, string call, int k, int error)
    {
        fixed (byte* name = Text(world), called = Text(call))
            ((delegate* unmanaged<byte*, byte*, int, int, void>)Export("fake_fail"))(name, called, k, error);
    }

    public void Release(string world)
    {
        fixed (byte* name = Text(world))
            ((delegate* unmanaged<byte*, void>)Export("fake_release"))(name);
    }

    public void BreakWaiting(string world)
    {
        fixed (byte* name = Text(world))
            ((delegate* unmanaged<byte*, void>)Export("fake_break_waiting"))(name);
    }

    /// <summary>
    /// Allows that many more empty fi_info (fi_allocinfo), and then none; without a limit if the number is negative.
    /// </summary>
    public void LimitEmptyInfos(int count) => ((delegate* unmanaged<int, void>)Export("fake_limit_infos"))(count);

    public void SetEnding(string world, FakeEnding ending, int error)
    {
        fixed (byte* name = Text(world))
            ((delegate* unmanaged<byte*, int, int, void>)Export("fake_completions"))(name, (int)ending, error);
    }

    public void Flip(string world, int k, long bit)
    {
        fixed (byte* name = Text(world))
            ((delegate* unmanaged<byte*, nint, ulong, void>)Export("fake_flip"))(name, k, (ulong)bit);
    }

    public long Flipped(string world)
    {
        fixed (byte* name = Text(world))
            return ((delegate* unmanaged<byte*, long>)Export("fake_flipped"))(name);
    }

    public string Calls(string world) => Read("fake_calls", world);

    public string Misuse(string world) => Read("fake_misuse", world);

    public void ForgetMisuse(string world)
    {
        fixed (byte* name = Text(world))
            ((delegate* unmanaged<byte*, void>)Export("fake_forget_misuse"))(name);
    }

    /// <summary>
    /// Returns the registered bytes, then the numbers of open fabrics, domains, vectors, queues, endpoints,
    /// registrations and interfaces.
    /// </summary>
    public long[] Open(string world)
    {
        long[] open = new long[CountedKinds];
        fixed (byte* name = Text(world))
        fixed (long* into = open)
            ((delegate* unmanaged<byte*, long*, void>)Export("fake_open"))(name, into);
        return open;
    }

    private string Read(string function, string world)
    {
        byte* room = stackalloc byte[TextRoom];
        fixed (byte* name = Text(world))
            ((delegate* unmanaged<byte*, byte*, nuint, void>)Export(function))(name, room, TextRoom);
        return Marshal.PtrToStringUTF8((nint)room)!;
    }

    private static byte[] Text(string text) => Encoding.UTF8.GetBytes(text + '\0');

    private nint Export(string name) => NativeLibrary.GetExport(_module, name);

    private static string MakeFolder()
    {
        string folder = Directory.CreateTempSubdirectory("alloctools-fake-").FullName;
        // A loaded library stays loaded; its file is no longer needed.
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(folder, recursive: true);
        return folder;
    }

    private static string Compile()
    {
        string library = System.IO.Path.Combine(Folder.Value, "libfake.so");
        string sources = System.IO.Path.Combine(Repository.Root, "tests", "AllocTools.Libfabric.Tests", "Faked", "native");
        NativeLayout.Execute(
            "cc", ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-shared", "-fPIC", "-pthread", "-o", library, .. Directory.GetFiles(sources, "*.c")]);
        return library;
    }
}
