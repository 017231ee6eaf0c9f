using System.Runtime.InteropServices;

namespace AllocTools.Interop;

/// <summary>
/// Accesses the environment that native code reads. On Unix
/// <see cref="Environment.SetEnvironmentVariable(string, string?)"/> changes only the runtime's own copy.
/// </summary>
internal static partial class NativeEnvironment
{
    public static string? Get(string name) =>
        OperatingSystem.IsWindows() ? Environment.GetEnvironmentVariable(name) : Marshal.PtrToStringUTF8(getenv(name));

    /// <summary>Sets a variable that is not set yet. Returns false if it was set; it then keeps its value.</summary>
    public static bool TrySet(string name, string value)
    {
        if (Get(name) is not null)
            return false;
        if (OperatingSystem.IsWindows())
            Environment.SetEnvironmentVariable(name, value);
        else if (setenv(name, value, 0) != 0)
            throw new InvalidOperationException($"The environment variable '{name}' could not be set: {Marshal.GetLastPInvokeErrorMessage()}.");
        return true;
    }

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint getenv(string name);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int setenv(string name, string value, int overwrite);
}
