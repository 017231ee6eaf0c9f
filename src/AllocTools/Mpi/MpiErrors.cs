using AllocTools.Interop;
using AllocTools.Mpi.Interop;
using AllocTools.Validation;

namespace AllocTools.Mpi;

/// <summary>
/// Creates the exceptions for MPI's failures. Their codes are MPI's error classes, from <see cref="FirstCode"/> on, so
/// that they are not confused with errno values.
/// </summary>
internal static class MpiErrors
{
    /// <summary>The code of class 0.</summary>
    public const int FirstCode = 10_000;

    /// <summary>ECONNRESET, the code for a peer whose endpoint was closed.</summary>
    public const int ConnectionReset = 104;

    /// <summary>Returns the code of a call's result.</summary>
    public static int CodeOf(MpiLibrary library, int error) => FirstCode + library.ClassOf(error);

    /// <summary>Returns MPI's name of a code's class, or the system's name of an errno value.</summary>
    public static string NameOf(MpiLibrary library, int code) =>
        code < FirstCode ? SystemErrors.NameOf(code)
        : library.Constants.ErrorClasses.TryGetValue(code - FirstCode, out string? name) ? name
        : $"MPI error class {code - FirstCode}";

    public static string TextOf(MpiLibrary library, int code) => code < FirstCode ? "" : library.TextOf(code - FirstCode);

    public static RmaProviderException Provider(MpiLibrary library, string operation, int error, string advice = "")
    {
        int code = CodeOf(library, error);
        return new RmaProviderException(
            $"{operation} failed with {NameOf(library, code)} ({library.TextOf(error)}) on provider '{MpiContext.NameOf(library.Implementation)}'. {advice}".TrimEnd(),
            code,
            NameOf(library, code));
    }

    public static RmaRegistrationException Registration(MpiLibrary library, string operation, long length, int error, string advice = "")
    {
        int code = CodeOf(library, error);
        string provider = MpiContext.NameOf(library.Implementation);
        return new RmaRegistrationException(
            $"{operation} of {InWords.Size(length)} failed with {NameOf(library, code)} ({library.TextOf(error)}) on provider '{provider}'. {advice}".TrimEnd(),
            operation,
            length,
            provider,
            code,
            NameOf(library, code));
    }
}
